# Code of ordinary roles, of all kinds, through all paths of the product: it never runs as a superuser, and leaves no setting changed.
#
# Each function tells the log who it runs as, and changes what settings it can, but not in sessions of its own role. Only the roles write; superusers give commands of the extension.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3);
my $settings = join ' ', map { "PERFORM set_config('$_->[0]', '$_->[1]', false);" } ['search_path', 'm, pg_catalog'], ['datestyle', 'SQL, DMY'], ['intervalstyle', 'sql_standard'],
	['array_nulls', 'off'], ['extra_float_digits', '-10'], ['default_transaction_read_only', 'on'], ['bytea_output', 'escape'], ['timezone', 'Asia/Tokyo'],
	['statement_timeout', '1ms'], ['lock_timeout', '1ms'], ['xmloption', 'document'], ['row_security', 'off'], ['transform_null_equals', 'on'];
my @parts = qw(domain key check index predicate unique generated default trigger statement truncate deferred policy statistics handler leaf array foreign);

sub table
{
	my ($name, $owner, $extra) = @_;
	return <<"SQL";
CREATE TABLE m.$name (id m.d_key PRIMARY KEY, v m.d_text CHECK (m.ok('check $name', v)), u text, arr m.d_text[], bare m.d_bare[], sql m.d_sql[], mixed m.mixed,
	g text GENERATED ALWAYS AS (m.same('generated $name', u)) STORED, d text DEFAULT m.made('default $name'), n int DEFAULT 0)$extra;
SQL
}

# What code hangs on a table besides.
sub code_of
{
	my ($name) = @_;
	return <<"SQL";
CREATE INDEX ON m.$name (m.same('index $name', u)) WHERE m.ok('predicate $name', u);
CREATE STATISTICS m.${name}_s ON (m.same('statistics $name', u)), n FROM m.$name;
CREATE TRIGGER r BEFORE INSERT OR UPDATE OR DELETE ON m.$name FOR EACH ROW EXECUTE FUNCTION m.fire('trigger $name');
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON m.$name FOR EACH ROW EXECUTE FUNCTION m.fire('trigger after $name');
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON m.$name EXECUTE FUNCTION m.fire('statement $name');
CREATE TRIGGER t BEFORE TRUNCATE ON m.$name EXECUTE FUNCTION m.fire('truncate $name');
CREATE CONSTRAINT TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON m.$name DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION m.fire('deferred $name');
ALTER TABLE m.$name ENABLE ALWAYS TRIGGER r, ENABLE ALWAYS TRIGGER a, ENABLE ALWAYS TRIGGER s, ENABLE ALWAYS TRIGGER t, ENABLE ALWAYS TRIGGER c;
ALTER TABLE m.$name ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON m.$name USING (m.ok('policy $name', v));
SQL
}

my @tables = qw(plain wiki hand shop uniq whole);
my $schema = <<"SQL";
CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;
SQL
my $objects = <<"SQL";
CREATE SCHEMA m AUTHORIZATION alice;
GRANT CREATE, USAGE ON SCHEMA m TO bob;
SET SESSION AUTHORIZATION alice;
CREATE FUNCTION m.note(what text) RETURNS void LANGUAGE plpgsql AS \$f\$ BEGIN RAISE LOG 'who am I: % as %', what, current_user; IF session_user NOT IN ('alice', 'bob') THEN $settings END IF; END \$f\$;
CREATE FUNCTION m.ok(what text, v text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note(what); RETURN true; END \$f\$;
CREATE FUNCTION m.same(what text, v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note(what); RETURN v; END \$f\$;
CREATE FUNCTION m.made(what text) RETURNS text LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note(what); RETURN 'made'; END \$f\$;
CREATE FUNCTION m.fire() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note(tg_argv[0]); RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END; END \$f\$;
-- operators and functions that statements without schemas would find with the changed path
CREATE FUNCTION m.hijack(text, text) RETURNS boolean LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note('operator'); RETURN \$1 OPERATOR(pg_catalog.=) \$2; END \$f\$;
CREATE OPERATOR m.= (leftarg = text, rightarg = text, function = m.hijack);
CREATE FUNCTION m.now() RETURNS timestamptz LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM m.note('function now'); RETURN pg_catalog.now(); END \$f\$;
-- settings that a check changes without a function, and by one that is put in its place
CREATE FUNCTION m.quiet() RETURNS boolean LANGUAGE sql AS \$f\$ SELECT session_user IN ('alice', 'bob') OR set_config('array_nulls', 'off', false) || set_config('datestyle', 'SQL, DMY', false) IS NOT NULL \$f\$;
CREATE DOMAIN m.d_sql AS text CHECK (m.quiet());
CREATE DOMAIN m.d_bare AS text CHECK (session_user IN ('alice', 'bob') OR set_config('array_nulls', 'off', false) || set_config('intervalstyle', 'sql_standard', false)
	|| set_config('datestyle', 'SQL, DMY', false) || set_config('timezone', 'Asia/Tokyo', false) || set_config('xmloption', 'document', false) IS NOT NULL);
CREATE TYPE m.mixed AS (b m.d_bare, i interval, t timestamptz, d date, x xml);
CREATE DOMAIN m.d_text AS text CHECK (m.ok('domain', VALUE));
CREATE DOMAIN m.d_key AS int CHECK (m.ok('key', VALUE::text));
SQL
$objects .= table($_, 'alice', '') . code_of($_) for @tables;
$objects .= <<"SQL";
ALTER TABLE m.whole DROP CONSTRAINT whole_pkey, REPLICA IDENTITY FULL;
CREATE UNIQUE INDEX uniq_u ON m.uniq (m.same('unique', u));
CREATE FUNCTION m.combine(older m.hand, newer m.hand) RETURNS m.hand LANGUAGE plpgsql IMMUTABLE AS \$f\$ BEGIN PERFORM m.note('handler'); newer.u := older.u || newer.u; RETURN newer; END \$f\$;
CREATE TABLE m.parts (id int PRIMARY KEY, v m.d_text) PARTITION BY RANGE (id);
CREATE TABLE m.parts_a PARTITION OF m.parts FOR VALUES FROM (0) TO (100);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION bob;
CREATE FUNCTION m.bobs() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN RAISE LOG 'who am I: leaf as %', current_user; RETURN CASE WHEN tg_op = 'DELETE' THEN old ELSE new END; END \$f\$;
CREATE TABLE m.parts_b (id int NOT NULL, v m.d_text, PRIMARY KEY (id));
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON m.parts_b FOR EACH ROW EXECUTE FUNCTION m.bobs();
ALTER TABLE m.parts_b ENABLE ALWAYS TRIGGER b;
RESET SESSION AUTHORIZATION;
ALTER TABLE m.parts ATTACH PARTITION m.parts_b FOR VALUES FROM (100) TO (200);
GRANT SELECT, INSERT, UPDATE, DELETE ON m.parts_b TO alice;
SQL

$mesh->sql($_, $schema) for 1 .. 3;
$mesh->make_group($objects);
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('m.wiki', 'siblings'), replication_plugin.set_conflict_policy('m.hand', 'handler', 'm.combine(m.hand,m.hand)'),
	replication_plugin.set_column_merge('m.shop', 'n', 'counter')");
$mesh->wait_converged;

my $as = 'SET SESSION AUTHORIZATION alice; ';
sub write_as { my ($i, $sql) = @_; $mesh->sql($i, "$as $sql"); }

# who ran what in the logs since the last look; what a superuser ran is wrong
my @at = (0) x 4;
my %seen;
sub look
{
	my ($path) = @_;
	my %wrong;
	for my $i (1 .. $#at)
	{
		my $log = slurp_file($mesh->node($i)->logfile, $at[$i]);
		$at[$i] += length $log;
		while ($log =~ /who am I: (.*) as (\w+)$/mg)
		{
			$seen{ (split ' ', $1)[0] }++;
			$wrong{"$1 as $2"}++ if $2 ne 'alice' && $2 ne 'bob';
		}
	}
	is(join(', ', sort keys %wrong), '', "$path: nothing runs as a superuser");
}
look('making the tables');

for my $t (@tables)
{
	write_as(1, "INSERT INTO m.$t (id, v, u, arr, bare, sql, mixed) SELECT g, 'v' || g, 'u' || g, ARRAY['x', NULL, 'y'], ARRAY['x', NULL, 'y'], ARRAY['x', NULL, 'y'],
		ROW('x', '-1 days -02:03:04', '2020-02-03 04:05:06+09', '2020-02-03', 'a<b/>')::m.mixed FROM generate_series(1, 8) g");
	$mesh->wait_converged;
	look("$t: inserts");
	write_as(2, "UPDATE m.$t SET v = 'w' || id, u = u || 'w', n = n + 1 WHERE id < 5; UPDATE m.$t SET id = id + 100 WHERE id = 4; DELETE FROM m.$t WHERE id = 5");
	$mesh->wait_converged;
	look("$t: updates, a key that changes, deletes");
	write_as(1, "INSERT INTO m.$t (id, v, u) VALUES (50, repeat('long', 20000), 'large'); UPDATE m.$t SET n = 7 WHERE id = 50");
	$mesh->wait_converged;
	look("$t: large values");
}
write_as(1, "INSERT INTO m.parts SELECT g, 'p' FROM generate_series(98, 103) g; UPDATE m.parts SET id = id + 20 WHERE id = 99; DELETE FROM m.parts WHERE id = 100");
$mesh->wait_converged;
look('partitions of another owner');
$mesh->is_identical('written');

# concurrent writes
$mesh->pause_all;
for my $i (1 .. 3)
{
	write_as($i, "UPDATE m.$_ SET v = 'of $i', u = u || '$i', n = n + $i WHERE id < 3; INSERT INTO m.$_ (id, v, u) VALUES (200, 'both', 'c$i') ON CONFLICT DO NOTHING") for grep { $_ ne 'whole' } @tables;
	write_as($i, "INSERT INTO m.uniq (id, v, u) VALUES (300 + $i, 'x', 'the same')");
	write_as($i, "DELETE FROM m.whole WHERE id = $i");
}
$mesh->resume_all;
look('conflicts, and rows that are parked');
write_as(2, "DELETE FROM m.uniq WHERE u = 'the same'");
$mesh->poll($_, 'SELECT count(*) FROM replication_plugin.parked_rows', 1) for 1 .. 3;
$mesh->wait_converged;
look('a parked row that comes back');
$mesh->is_identical('after conflicts');

# people look, as superusers: values of the owners' types are read for them
for my $i (1 .. 3)
{
	$mesh->try_sql($i, $_) for "SELECT * FROM replication_plugin.siblings('m.wiki', '{\"id\": 1}')", "SELECT replication_plugin.causal_context('m.wiki', '{\"id\": 1}')",
		'SELECT * FROM replication_plugin.unresolved', 'SELECT * FROM replication_plugin.parked_rows', 'SELECT * FROM replication_plugin.dangling_references()',
		'SELECT * FROM replication_plugin.conflicts', 'SELECT * FROM replication_plugin.tables', 'SELECT * FROM replication_plugin.conflict_stats', 'SELECT * FROM replication_plugin.parked_of(NULL::m.uniq)';
}
look('views');

# policies change, and repairs
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('m.plain', 'siblings')");
$mesh->wait_converged;
write_as(1, "UPDATE m.plain SET v = 'as siblings'");
$mesh->wait_converged;
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('m.plain', 'last_write_wins')");
$mesh->wait_converged;
look('policies that change');
$mesh->sql(1, "SELECT replication_plugin.resend_table('m.wiki'), replication_plugin.resend_table('m.plain')");
$mesh->wait_converged;
look('tables sent again');
write_as(1, "TRUNCATE m.$_") for qw(shop uniq plain);
$mesh->wait_converged;
look('TRUNCATE');

# a node that joins
my $new = $mesh->add_server;
push @at, 0;
$mesh->sql($new, $schema);
$mesh->join($new);
$mesh->wait_for_streaming(1 .. 4);
look('a join');
$mesh->is_identical('joined', 1 .. 4);
# workers in the background had some time
$mesh->sql(1, 'VACUUM ANALYZE');
look('statistics');
is(join(' ', grep { !$seen{$_} } grep { !/array|foreign/ } @parts), '', 'each kind of code has run');
done_testing();
