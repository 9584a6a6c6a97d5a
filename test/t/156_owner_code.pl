# More kinds of code of ordinary roles through all paths of the product: it never runs as a superuser, a leaf's runs as the leaf's owner, and no
# setting is changed afterwards. What this adds to 152: types made of domains as keys, literals and constants that are computed when a
# statement is planned or a schema is restored, casts, ranges, event triggers, and what comes after in the same transaction of a worker.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2);
my @roles = qw(alice bob carol);
my $ours = join ', ', map { "'$_'" } @roles;
my @pinned = (['datestyle', 'ISO, MDY'], ['intervalstyle', 'postgres'], ['array_nulls', 'on'], ['extra_float_digits', '3'], ['bytea_output', 'hex'], ['timezone', 'UTC'],
	['xmloption', 'content'], ['row_security', 'on'], ['transform_null_equals', 'off'], ['default_transaction_read_only', 'off'], ['transaction_read_only', 'off'],
	['statement_timeout', '0'], ['lock_timeout', '0'], ['work_mem', '4MB'], ['default_tablespace', ''], ['check_function_bodies', 'on']);
my %hostile = (datestyle => 'SQL, DMY', intervalstyle => 'sql_standard', array_nulls => 'off', extra_float_digits => '-10', bytea_output => 'escape', timezone => 'Asia/Tokyo',
	xmloption => 'document', row_security => 'off', transform_null_equals => 'on', default_transaction_read_only => 'on', statement_timeout => '1ms',
	lock_timeout => '1ms', work_mem => '64kB', check_function_bodies => 'off', default_tablespace => 'pg_default', transaction_read_only => 'on', search_path => 'm, pg_catalog');
my $spoil = join ' ', map { "PERFORM set_config('$_', '$hostile{$_}', false);" } sort keys %hostile;
my $list = join " || ' ' || ", map { "'$_->[0]=' || current_setting('$_->[0]')" } @pinned;
my $expected = join ' ', map { "$_->[0]=$_->[1]" } @pinned;

my $schema = join ' ', map { "CREATE ROLE $_ LOGIN;" } @roles;
my $objects = <<"SQL";
CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION ltree SCHEMA public;
CREATE SCHEMA m AUTHORIZATION alice;
GRANT CREATE, USAGE ON SCHEMA m TO bob, carol;
SET SESSION AUTHORIZATION alice;
CREATE FUNCTION m.note(what text) RETURNS void LANGUAGE plpgsql AS \$f\$ BEGIN
	RAISE LOG 'who am I: % as %', what, current_user;
	IF session_user NOT IN ($ours) THEN
		$spoil
		BEGIN
			PERFORM pg_advisory_lock(4711);
			PERFORM setseed(0.5);
			EXECUTE 'SET CONSTRAINTS ALL DEFERRED';
		EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN CREATE TEMP TABLE shadow (); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'SET ROLE postgres'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN PERFORM set_config('session_authorization', 'postgres', false); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN PERFORM set_config('session_replication_role', 'origin', false); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'PREPARE p AS SELECT 1'; EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE 'LISTEN l'; EXCEPTION WHEN OTHERS THEN NULL; END;
	END IF;
END \$f\$;
CREATE FUNCTION m.ok(what text, v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note(what); RETURN true; END \$f\$;
CREATE FUNCTION m.same(what text, v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note(what); RETURN v; END \$f\$;
CREATE FUNCTION m.nr(what text, v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note(what); RETURN v; END \$f\$;
CREATE FUNCTION m.diff(a int, b int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN
	-- without a subtransaction: pages of an index are locked meanwhile, whose locks it would release
	RAISE LOG 'who am I: range as %', current_user;
	IF session_user NOT IN ($ours) THEN $spoil END IF;
	RETURN a - b; END \$f\$;
CREATE FUNCTION m.fire() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note(tg_argv[0]); RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END; END \$f\$;
CREATE DOMAIN m.d AS text CHECK (m.ok('domain', VALUE));
CREATE TYPE m.pair AS (a int, b m.d);
CREATE TYPE m.kind AS ENUM ('one', 'two');
CREATE TYPE m.r AS RANGE (subtype = int, subtype_diff = m.diff);
CREATE FUNCTION m.json_of(v m.kind) RETURNS json LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note('cast'); RETURN to_json(v::text); END \$f\$;
CREATE CAST (m.kind AS json) WITH FUNCTION m.json_of(m.kind);
-- operators of the owner's that statements without schemas would find
CREATE FUNCTION m.eq(m.kind, m.kind) RETURNS boolean LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note('operator'); RETURN \$1::text OPERATOR(pg_catalog.=) \$2::text; END \$f\$;
CREATE OPERATOR m.= (leftarg = m.kind, rightarg = m.kind, function = m.eq);
-- keys: a composite with a domain in it, an array of a domain, an enum with an equality of its own
CREATE TABLE m.pairs (k m.pair PRIMARY KEY, v text, large text, u int UNIQUE);
CREATE TABLE m.arrays (k m.d[] PRIMARY KEY, v text, large text, u int UNIQUE);
CREATE TABLE m.kinds (k m.kind, id int, v text, large text, u int UNIQUE, PRIMARY KEY (k, id));
CREATE TABLE m.cases (k citext PRIMARY KEY, v text, large text, u int UNIQUE);
CREATE TABLE m.trees (k ltree PRIMARY KEY, v text, large text, u int UNIQUE);
ALTER TABLE m.pairs ALTER large SET STORAGE EXTERNAL; ALTER TABLE m.arrays ALTER large SET STORAGE EXTERNAL; ALTER TABLE m.kinds ALTER large SET STORAGE EXTERNAL;
ALTER TABLE m.cases ALTER large SET STORAGE EXTERNAL; ALTER TABLE m.trees ALTER large SET STORAGE EXTERNAL;
-- what is computed when statements are planned or restored
CREATE TABLE m.consts (id int PRIMARY KEY, v text, arr m.d[] DEFAULT '{x}', p m.pair DEFAULT '(1,x)', CHECK (arr <> '{y}'::m.d[]), rg m.r, e m.kind DEFAULT 'one');
CREATE INDEX ON m.consts ((m.same('folded index', 'x') || v));
CREATE INDEX ON m.consts (v) WHERE v <> m.same('folded predicate', 'none');
CREATE INDEX ON m.consts USING gist (rg);
CREATE STATISTICS m.consts_s ON (m.same('folded statistics', 'x') || v), id FROM m.consts;
CREATE FUNCTION m.row_ok(m.consts) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note('check of rows'); RETURN true; END \$f\$;
ALTER TABLE m.consts ADD CHECK (m.row_ok(consts));
CREATE TABLE m.refs (id int PRIMARY KEY, c int REFERENCES m.consts, v text);
CREATE INDEX ON m.refs ((m.same('folded reference', 'x') || v));
CREATE TABLE m.lists (id int, v m.d, PRIMARY KEY (id, v)) PARTITION BY LIST (v);
CREATE TABLE m.lists_a PARTITION OF m.lists FOR VALUES IN ('a');
CREATE TABLE m.lists_b PARTITION OF m.lists FOR VALUES IN ('b');
-- a partition of another owner
CREATE TABLE m.parts (id int PRIMARY KEY, v text, u int, large text) PARTITION BY RANGE (id);
CREATE TABLE m.parts_a PARTITION OF m.parts FOR VALUES FROM (0) TO (100);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION bob;
CREATE FUNCTION m.bobs(what text, v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN RAISE LOG 'who am I: leaf % as %', what, current_user; RETURN v; END \$f\$;
CREATE FUNCTION m.bobs() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.bobs('trigger', ''); RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END; END \$f\$;
CREATE TABLE m.parts_b (id int NOT NULL, v text CHECK (m.bobs('check', v) IS NOT NULL), u int, large text, PRIMARY KEY (id));
CREATE UNIQUE INDEX ON m.parts_b ((m.bobs('index', u::text))) WHERE m.bobs('predicate', v) IS NOT NULL;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON m.parts_b FOR EACH ROW EXECUTE FUNCTION m.bobs();
ALTER TABLE m.parts_b ENABLE ALWAYS TRIGGER b;
RESET SESSION AUTHORIZATION;
ALTER TABLE m.parts ATTACH PARTITION m.parts_b FOR VALUES FROM (100) TO (200);
GRANT SELECT, INSERT, UPDATE, DELETE ON m.parts_b TO alice;
-- what comes after the owner's code in the same transaction
SET SESSION AUTHORIZATION carol;
CREATE FUNCTION m.watch() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN
	RAISE LOG 'after: % locks=% temp=% prepared=% channels=%', $list, (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
		(SELECT count(*) FROM pg_class WHERE relname = 'shadow'), (SELECT count(*) FROM pg_prepared_statements WHERE name = 'p'), (SELECT count(*) FROM pg_listening_channels());
	RETURN new; END \$f\$;
CREATE FUNCTION m.late() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN RAISE LOG 'who am I: deferred as %', current_user; RETURN new; END \$f\$;
CREATE TABLE m.watched (id int PRIMARY KEY, d date, i interval);
CREATE TRIGGER w BEFORE INSERT ON m.watched FOR EACH ROW EXECUTE FUNCTION m.watch();
CREATE CONSTRAINT TRIGGER d AFTER INSERT ON m.watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION m.late();
ALTER TABLE m.watched ENABLE ALWAYS TRIGGER w, ENABLE ALWAYS TRIGGER d;
GRANT INSERT ON m.watched TO alice;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION alice;
CREATE TRIGGER s BEFORE INSERT OR UPDATE OR DELETE ON m.consts FOR EACH ROW EXECUTE FUNCTION m.fire('trigger');
CREATE TRIGGER t BEFORE TRUNCATE ON m.consts EXECUTE FUNCTION m.fire('truncate');
CREATE TRIGGER t AFTER TRUNCATE ON m.lists_a EXECUTE FUNCTION m.fire('truncate of a leaf');
ALTER TABLE m.consts ENABLE ALWAYS TRIGGER s, ENABLE ALWAYS TRIGGER t;
ALTER TABLE m.lists_a ENABLE ALWAYS TRIGGER t;
CREATE FUNCTION m.event() RETURNS event_trigger LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note('event trigger'); END \$f\$;
RESET SESSION AUTHORIZATION;
SQL

$mesh->sql($_, $schema) for 1 .. 2;
$mesh->make_group($objects);
my @keyed = (['pairs', "ROW(%s, 'b')::m.pair"], ['arrays', "ARRAY['x', NULL, '%s']::m.d[]"], ['kinds', "'one', %s", 'k, id'], ['cases', "'Key%s'"], ['trees', "'top.k%s'"]);

sub write_as { my ($i, $sql) = @_; $mesh->sql($i, "SET SESSION AUTHORIZATION alice; $sql"); }

my @at = (0) x 4;
my (%seen, @after);
# who ran what in the logs since the last look
sub look
{
	my ($path) = @_;
	my %wrong;
	for my $i (1 .. $mesh->size)
	{
		my $log = slurp_file($mesh->node($i)->logfile, $at[$i] // 0);
		$at[$i] += length $log;
		push @after, $1 =~ s/lock_timeout=(?!1ms)\S+/lock_timeout=0/r while $log =~ /after: (.*)$/mg;	# a worker's own is no owner's
		while ($log =~ /who am I: (.*) as (\w+)$/mg)
		{
			my ($what, $who) = ($1, $2);
			$seen{$what}++;
			$wrong{"$what as $who"}++ if $who ne ($what =~ /^leaf/ ? 'bob' : $what eq 'deferred' ? 'carol' : 'alice');
		}
	}
	is(join(', ', sort keys %wrong), '', "$path: all runs as its owner");
}
# the tables have been made, and the leaf's trigger is fired by whoever writes here
sub skip_log { $at[$_] += length(slurp_file($mesh->node($_)->logfile, $at[$_] // 0)) for 1 .. $mesh->size; }

$mesh->sql($_, 'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION m.event()') for 1 .. 2;
skip_log();

# writes on node 1; those of tables of others than alice are looked at where they arrive
for my $t (@keyed)
{
	my ($name, $key, $columns) = ($t->[0], $t->[1], $t->[2] || 'k');
	my $k = sub { sprintf $key, $_[0] };
	write_as(1, "INSERT INTO m.$name ($columns, v, large, u) VALUES " . join(', ', map { '(' . $k->($_) . ", 'v', repeat('l', 5000), $_)" } 1 .. 8));
	write_as(1, "DELETE FROM m.$name WHERE u = 3; INSERT INTO m.$name ($columns, v, u) VALUES (" . $k->(3) . ", 'again', 3)");
	write_as(1, "UPDATE m.$name SET ($columns) = ROW(" . $k->(40) . ") WHERE u = 4");
	$mesh->wait_converged;
	look("$name: inserts, deletes, keys that change");
	# a value that was not sent is not here either
	$mesh->pause_all;
	write_as(1, "UPDATE m.$name SET v = 'of 1' WHERE u = 1");
	write_as(2, "UPDATE m.$name SET v = 'of 2', large = 'short' WHERE u = 1");
	write_as($_, "INSERT INTO m.$name ($columns, v, u) VALUES (" . $k->(60 + $_) . ", 'rival', 100)") for 1 .. 2;
	write_as(1, "UPDATE m.$name SET v = 'later' WHERE u = 1");
	$mesh->resume_all;
	$mesh->wait_converged;
	look("$name: a value that is fetched, a row that is parked");
	write_as(1, "DELETE FROM m.$name WHERE u = 100");
	$mesh->poll($_, 'SELECT count(*) FROM replication_plugin.parked_rows', 0) for 1 .. 2;
	$mesh->wait_converged;
	look("$name: a parked row that comes back");
}
write_as(1, "INSERT INTO m.consts (id, v, rg) SELECT g, 'v', m.r(g, g + 5) FROM generate_series(1, 400) g");
write_as(1, 'INSERT INTO m.refs SELECT g, g, \'v\' FROM generate_series(1, 5) g');
write_as(1, "INSERT INTO m.lists SELECT g, CASE g % 2 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 6) g; UPDATE m.lists SET v = 'b' WHERE id = 2; DELETE FROM m.lists WHERE id = 4");
$mesh->wait_converged;
look('constants that are planned, ranges, lists');
write_as(1, "BEGIN; UPDATE m.consts SET v = 'w' WHERE id < 5; INSERT INTO m.pairs VALUES (ROW(77, 'c'), 'v', NULL, 77);
	INSERT INTO m.watched VALUES (1, '2020-03-02', '-1 days -02:00'); COMMIT");
# where it was written, the deferred trigger has run as who wrote
$mesh->wait_converged;
$at[1] += length slurp_file($mesh->node(1)->logfile, $at[1]);
look('what comes after in the same transaction');
$mesh->pause_all;
write_as($_, "UPDATE m.consts SET v = 'of $_' WHERE id = 7; UPDATE m.consts SET e = 'two' WHERE id = 8") for 1 .. 2;
$mesh->resume_all;
$mesh->wait_converged;
look('conflicts with casts');
$mesh->is_identical('written');
skip_log();						# that was a superuser's own query

# a leaf of another owner: what its owner's code did where it was written is not looked at
sub leaf { my ($sql) = @_; write_as(1, $sql); $at[1] += length slurp_file($mesh->node(1)->logfile, $at[1]); $mesh->wait_converged; }
leaf("INSERT INTO m.parts SELECT g, 'p', g, repeat('l', 5000) FROM generate_series(98, 110) g");
leaf("UPDATE m.parts SET v = 'q' WHERE id > 104; UPDATE m.parts SET id = id + 20 WHERE id = 99; DELETE FROM m.parts WHERE id = 105");
look('a leaf of another owner');

# people look, as superusers; settings of their sessions are as before
my ($before, $then) = split /\n--\n/, $mesh->sql(2, join ' ', "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name !~ '[.]';", 'SELECT E\'--\';',
	'DO $d$ BEGIN PERFORM * FROM replication_plugin.unresolved; PERFORM * FROM replication_plugin.parked_rows; PERFORM * FROM replication_plugin.dangling_references();
		PERFORM * FROM replication_plugin.conflicts; PERFORM * FROM replication_plugin.tables; PERFORM * FROM replication_plugin.links; PERFORM * FROM replication_plugin.preflight(); END $d$;',
	"SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name !~ '[.]'");
is($then, $before, 'views leave settings as they are');
look('views');

# policies, repairs
my $policy = sub { $mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('m.pairs', '$_[0]')"); $mesh->wait_converged; };
$policy->('siblings');
$mesh->pause_all;
write_as($_, "UPDATE m.pairs SET v = 'sibling $_' WHERE u = 2") for 1 .. 2;
$mesh->resume_all;
$mesh->wait_converged;
look('siblings');
$mesh->sql(2, q{SELECT * FROM replication_plugin.siblings('m.pairs', '{"k": {"a": 2, "b": "b"}}'), replication_plugin.unresolved});
$mesh->sql(2, q{SELECT replication_plugin.resolve('m.pairs', '{"k": {"a": 2, "b": "b"}}', '{"v": "one of both", "u": 2}')});
$mesh->sql(2, q{SELECT replication_plugin.resolve('m.pairs', '{"k": {"a": 5, "b": "b"}}', NULL)});
$mesh->wait_converged;
is($mesh->sql(1, "SELECT string_agg(u || v, ' ' ORDER BY u) FROM m.pairs WHERE u IN (2, 5)"), '2one of both', 'resolve() of a composite key');
look('siblings and resolve(), by a superuser');
$policy->('last_write_wins');
for my $t (['cases', 'key6', 'Key6'], ['trees', 'top.k6', 'top.k6'])
{
	$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('m.$t->[0]', 'siblings')");
	$mesh->wait_converged;
	$mesh->sql(2, qq{SELECT replication_plugin.resolve('m.$t->[0]', '{"k": "$t->[1]"}', '{"v": "resolved"}')});
	$mesh->sql(2, qq{SELECT replication_plugin.resolve('m.$t->[0]', '{"k": "$t->[1]"}', NULL)});
	$mesh->wait_converged;
	is($mesh->sql(1, "SELECT count(*) FROM m.$t->[0] WHERE k = '$t->[2]'"), 0, "resolve() of a key of $t->[0]");
}
$mesh->sql(1, "SELECT replication_plugin.resend_table('m.$_')") for qw(pairs arrays consts);
$mesh->wait_converged;
look('tables sent again');
write_as(1, 'ALTER TABLE m.arrays ALTER u TYPE bigint');
write_as(2, 'ALTER TABLE m.arrays ALTER u TYPE bigint');
$mesh->wait_converged;
look('a table that is rewritten');
write_as(1, 'TRUNCATE m.lists, m.arrays');
$mesh->wait_converged;
look('TRUNCATE');
write_as(1, "INSERT INTO m.lists VALUES (1, 'a')");
$mesh->is_identical('repaired');
skip_log();

# A partition that is a foreign table, of another owner: its rows are on another server, so neither a worker nor a join ever touches it, and a table that
# has one is not replicated.
my $far = sub {
	my ($i, $table) = @_;
	return "CREATE FOREIGN TABLE m.${table}_b (id int, v text) SERVER far OPTIONS (schema_name 'public', table_name '$table');
		ALTER FOREIGN TABLE m.${table}_b OWNER TO bob; GRANT ALL ON m.${table}_b TO alice;
		CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON m.${table}_b FOR EACH ROW EXECUTE FUNCTION m.bobs();
		ALTER TABLE m.${table}_b ENABLE ALWAYS TRIGGER b";
};
my $attach = sub { "ALTER TABLE m.$_[0] ATTACH PARTITION m.$_[0]_b FOR VALUES FROM (100) TO (200)" };
my @foreign = qw(spread aside risky);
subtest 'a foreign partition, of another owner' => sub {
	$mesh->sql($_, 'ALTER EVENT TRIGGER e DISABLE') for 1 .. 2;	# it spoils the settings of who makes tables here
	for my $i (1 .. 2)
	{
		$mesh->sql($i, join('; ', map { "CREATE TABLE $_ (id int, v text)" } @foreign), 'postgres');
		$mesh->sql($i, sprintf("CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%d', dbname 'postgres');
			CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user '%s', password_required 'false')", $mesh->node($i)->host, $mesh->node($i)->port, $mesh->user));
		$mesh->sql($i, "CREATE TABLE m.$_ (id int, v text) PARTITION BY RANGE (id); CREATE TABLE m.${_}_a PARTITION OF m.$_ FOR VALUES FROM (0) TO (100);
			ALTER TABLE m.$_ REPLICA IDENTITY FULL; ALTER TABLE m.${_}_a REPLICA IDENTITY FULL") for @foreign;
		$mesh->sql($i, "ALTER TABLE m.$_ OWNER TO alice; ALTER TABLE m.${_}_a OWNER TO alice") for qw(spread aside);
		$mesh->sql($i, $far->($i, $_)) for @foreign;
	}
	$mesh->wait_converged;
	my $refused = sub {
		my ($sql, $name) = @_;
		my ($status, undef, $err) = $mesh->try_sql(2, $sql);
		ok($status != 0 && $err =~ /foreign table/, $name) or diag("$status $err");
		like($err, qr/HINT:.*exclude_table\('m\./, "$name: what to do");
	};
	$refused->($attach->('spread'), 'ATTACH PARTITION');
	$refused->('CREATE FOREIGN TABLE m.f PARTITION OF m.spread FOR VALUES FROM (300) TO (400) SERVER far', 'CREATE FOREIGN TABLE ... PARTITION OF');
	my ($status, undef, $err) = $mesh->try_sql(2, "CREATE TABLE m.middle (id int, v text) PARTITION BY RANGE (id); SELECT replication_plugin.exclude_table('m.middle');
		ALTER TABLE m.middle ATTACH PARTITION m.risky_b FOR VALUES FROM (400) TO (500);
		ALTER TABLE m.spread ATTACH PARTITION m.middle FOR VALUES FROM (400) TO (500)");
	like($err, qr/foreign table "risky_b" cannot be a partition of the replicated table m\.spread/, 'a partition that has one');
	$mesh->sql(2, 'ALTER TABLE m.middle DETACH PARTITION m.risky_b; DROP TABLE m.middle');
	# in tables that are not replicated it is as ever
	$mesh->sql(1, "SELECT replication_plugin.exclude_table(('m.' || t)::regclass) FROM unnest('{@{[ join ',', @foreign ]}}'::text[]) t");
	$mesh->wait_converged;
	$mesh->sql($_, $attach->('aside')) for 1 .. 2;
	$mesh->sql(2, $attach->($_)) for qw(spread risky);
	$mesh->sql(1, "CREATE TABLE m.${_}_c PARTITION OF m.$_ FOR VALUES FROM (100) TO (200); ALTER TABLE m.${_}_c REPLICA IDENTITY FULL") for qw(spread risky);
	$mesh->sql(1, 'ALTER TABLE m.spread_c OWNER TO alice');
	write_as(1, "INSERT INTO m.aside VALUES (1, 'here'), (101, 'far')");
	skip_log();
	my $ran = $seen{'leaf trigger'};
	$refused->("SELECT replication_plugin.include_table('m.spread')", 'include_table()');
	# another node does not know of it
	$mesh->sql(2, "ALTER SYSTEM SET replication_plugin.table_patience = '1s'");
	$mesh->sql(2, 'SELECT pg_reload_conf()');
	$mesh->sql(1, "SELECT replication_plugin.include_table('m.spread')");
	write_as(1, "INSERT INTO m.spread SELECT g, 'spread' FROM generate_series(98, 102) g; INSERT INTO m.pairs VALUES (ROW(900, 'b'), 'behind', NULL, 900)");
	ok($mesh->poll(2, 'SELECT count(*) FROM m.pairs WHERE u = 900', 1), 'what comes behind its rows arrives');
	ok($mesh->poll(2, q{SELECT reason FROM replication_plugin.waiting_tables}, 'table m.spread cannot be replicated: its partition "spread_b" is a foreign table on this node'),
		'the table waits, with the reason');
	like($mesh->sql(2, q{SELECT note FROM replication_plugin.tables WHERE "table" = 'm.spread'::regclass}), qr/partition m\.spread_b is a foreign table/, 'the view says so, too');
	is($mesh->sql(2, q{SELECT ok || ' ' || detail FROM replication_plugin.preflight() WHERE requirement = 'no foreign partitions'}), 'false m.spread (m.spread_b)', 'and preflight()');
	$mesh->sql(2, 'ALTER TABLE m.spread DETACH PARTITION m.spread_b; CREATE TABLE m.spread_c PARTITION OF m.spread FOR VALUES FROM (100) TO (200); ALTER TABLE m.spread_c REPLICA IDENTITY FULL; ALTER TABLE m.spread_c OWNER TO alice');
	ok($mesh->poll(2, 'SELECT (SELECT count(*) FROM m.spread) - (SELECT count(*) FROM replication_plugin.waiting_tables)', 5), 'mended, it has all rows');
	# a superuser's table never waits: the link says what to do
	$mesh->sql(1, "SELECT replication_plugin.include_table('m.risky')");
	$mesh->sql(1, "INSERT INTO m.risky SELECT g, 'risky' FROM generate_series(98, 102) g");
	write_as(1, "INSERT INTO m.pairs VALUES (ROW(901, 'b'), 'behind', NULL, 901)");
	ok($mesh->poll(2, q{SELECT coalesce(last_error ~ 'partition "risky_b" is a foreign table.*HINT.*exclude_table', false) FROM replication_plugin.links}), 'a superuser\'s: the link says what to do');
	$mesh->sql(2, "SELECT replication_plugin.exclude_table('m.risky')");
	ok($mesh->poll(2, 'SELECT count(*) FROM m.pairs WHERE u = 901', 1), 'which helps');
	$mesh->wait_converged;
	is($mesh->sql($_, 'SELECT (SELECT count(*) FROM spread) || \' \' || (SELECT count(*) FROM risky) || \' \' || (SELECT count(*) FROM aside)', 'postgres'), '0 0 ' . ($_ == 1 ? 1 : 0),
		"nothing was written where node $_ has foreign tables, but by users") for 1 .. 2;
	look('foreign partitions');
	is($seen{'leaf trigger'}, $ran, 'no code of theirs has run');
	$mesh->sql($_, 'ALTER EVENT TRIGGER e ENABLE') for 1 .. 2;
};

# a node that joins, one that comes back; first it has a table that no group takes
my $new = $mesh->add_server;
push @at, 0;
$mesh->sql($new, $schema);
$mesh->sql($new, "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE TABLE p (id int) PARTITION BY RANGE (id);
	CREATE FOREIGN TABLE p_1 PARTITION OF p FOR VALUES FROM (1) TO (9) SERVER files OPTIONS (filename '/dev/null')");
my $no_group = ($mesh->try_sql($new, sprintf("SELECT replication_plugin.create_group('g', 'n', '%s')", $mesh->dsn($new))))[2];
like($no_group, qr/table public\.p cannot be replicated: its partition public\.p_1 is a foreign table/, 'no group begins with a foreign partition');
$mesh->sql($new, 'DROP TABLE p; DROP EXTENSION file_fdw CASCADE');
$mesh->join($new);
$mesh->wait_for_streaming(1 .. 3);
look('a join');
is($mesh->sql(1, 'SELECT count(*) FROM aside', 'postgres'), 1, 'a join copies nothing of a foreign partition, and writes nothing to it');
is($mesh->sql(3, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'm.aside'::regclass"), 2, 'but has it where the source has it');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node3')");
$mesh->poll(3, "SELECT state FROM replication_plugin.nodes WHERE is_local", 'removed');
$mesh->rejoin(3);
$mesh->wait_for_streaming(1 .. 3);
look('a node that comes back');
$mesh->is_identical('joined', 1 .. 3);
is(join("\n", grep { $_ ne "$expected locks=0 temp=0 prepared=0 channels=0" && $_ ne "$expected locks=1 temp=0 prepared=0 channels=0" } @after), '', 'what comes after in a transaction has settings as ever');
cmp_ok(scalar(@after), '>', 0, 'that was looked at');
is($mesh->sql($_, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE locktype = 'advisory' AND classid = 0 AND objid = 4711 AND a.backend_type LIKE 'replication%'"), 0,
	"no worker of node $_ keeps a lock of an owner") for 1 .. 3;
is(join(' ', grep { my $kind = $_; !grep { /^$kind/ } keys %seen } 'domain', 'trigger', 'truncate', 'range', 'cast', 'folded index', 'check of rows', 'leaf trigger', 'leaf check', 'leaf index',
		'leaf predicate', 'deferred'), '', 'each kind of code has run');
done_testing();
