# Errors name table, row and the right remedy: of gathered inserts, of functions, of decoding at the provider; and conflicts with
# several rows have their name.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE e (id int PRIMARY KEY, v text);
CREATE TABLE two (id int PRIMARY KEY, a text UNIQUE, b text UNIQUE);
CREATE TABLE spec (id int PRIMARY KEY, v int);
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE keyless (a int, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE child (id int PRIMARY KEY, p int, extra text);
CREATE TABLE viewed (id int PRIMARY KEY);
CREATE TABLE parent (id int PRIMARY KEY);
SQL
$mesh->wait_converged;

sub last_error { return $mesh->sql(2, "SELECT last_error FROM replication_plugin.links WHERE provider = 'node1'"); }
sub stops
{
	my ($like) = @_;
	return ok($mesh->poll(2, "SELECT coalesce(last_error ~ '$like', false) FROM replication_plugin.links WHERE provider = 'node1'"), "the link says: $like") || diag(last_error());
}
sub goes_on
{
	my ($what) = @_;
	$mesh->wait_converged;
	ok($mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node1'", 'streaming'), "$what: the link goes on");
}

subtest 'an error in one of many inserts' => sub {
	$mesh->sql(2, 'CREATE INDEX bad ON t ((100 / (v - 7)))');
	$mesh->sql(1, 'INSERT INTO t SELECT i, i FROM generate_series(1, 50) i');
	stops('division by zero');
	like(last_error(), qr/INSERT in table "public.t", row \(id=7\), transaction [0-9A-F]+\/[0-9A-F]+ of node 1/, 'it names table, row and transaction');
	like(last_error(), qr/HINT: (?!The link).*skip_transaction/, 'the right remedy comes first, the last resort last');
	$mesh->sql(2, 'DROP INDEX bad');
	goes_on('division by zero');
	$mesh->sql(2, 'ALTER TABLE t ADD CONSTRAINT few CHECK (v < 140)');
	$mesh->sql(1, 'INSERT INTO t SELECT i, i FROM generate_series(101, 150) i');
	stops('violates check constraint');
	like(last_error(), qr/row \(id=140\).*HINT: .*the same types and constraints/, 'a constraint: row and remedy');
	$mesh->sql(2, 'ALTER TABLE t DROP CONSTRAINT few');
	goes_on('check');
};

subtest 'each kind of error has its remedy' => sub {
	$mesh->sql(2, "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'no such order'; END \$\$;
		CREATE TRIGGER fails BEFORE INSERT ON e FOR EACH ROW EXECUTE FUNCTION fails(); ALTER TABLE e ENABLE ALWAYS TRIGGER fails");
	$mesh->sql(1, "INSERT INTO e VALUES (1, 'x')");
	stops('no such order');
	like(last_error(), qr/PL\/pgSQL function .*fails\(\).*table "public.e", row \(id=1\).*HINT: A function that comes with the table.*mend it.*skip_transaction/, 'a trigger: which function, and what to do');
	$mesh->sql(2, 'DROP TRIGGER fails ON e');
	goes_on('trigger');
	$mesh->sql(2, 'ALTER TABLE e ALTER v TYPE varchar(3)');
	$mesh->sql(1, "INSERT INTO e VALUES (2, 'longer')");
	stops('value too long');
	like(last_error(), qr/row \(id=2\).*HINT: .*the same types and constraints.*skip_transaction/, 'a value that does not fit');
	$mesh->sql(2, 'ALTER TABLE e ALTER v TYPE text');
	goes_on('value');
};

subtest 'a single insert, what is checked at the end, and TRUNCATE have their names, too' => sub {
	$mesh->sql(2, 'ALTER TABLE e ALTER v SET NOT NULL');
	$mesh->sql(1, 'INSERT INTO e VALUES (11, NULL)');
	stops('violates not-null constraint');
	like(last_error(), qr/INSERT in table "public.e", row \(id=11\), transaction/, 'an insert that is written when the transaction ends');
	$mesh->sql(2, 'ALTER TABLE e ALTER v DROP NOT NULL');
	goes_on('single insert');
	$mesh->sql(2, 'ALTER TABLE e ADD CHECK (id <> 12)');
	$mesh->sql(1, "BEGIN; INSERT INTO e VALUES (12, 'x'); INSERT INTO other VALUES (77); UPDATE t SET v = v WHERE id = 1; COMMIT");
	stops('e_id_check');
	like(last_error(), qr/INSERT in table "public.e", row \(id=12\), transaction/, 'an insert that is written when the next table comes');
	$mesh->sql(2, 'ALTER TABLE e DROP CONSTRAINT e_id_check');
	goes_on('insert before another table');
	$mesh->sql(2, 'ALTER TABLE keyless ADD CONSTRAINT late UNIQUE (v) DEFERRABLE INITIALLY DEFERRED');
	$mesh->sql(1, "INSERT INTO keyless VALUES (1, 'x'), (2, 'x')");
	stops('unique constraint "late"');
	like(last_error(), qr/Key \(v\)=\(x\).*CONTEXT: constraints of table "public.keyless", transaction/, 'a constraint that is checked at the end');
	$mesh->sql(2, 'ALTER TABLE keyless DROP CONSTRAINT late');
	goes_on('deferred constraint');
	$mesh->sql(2, "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'not this one'; END \$\$;
		CREATE TRIGGER keeps BEFORE DELETE ON keyless FOR EACH ROW EXECUTE FUNCTION keeps(); ALTER TABLE keyless ENABLE ALWAYS TRIGGER keeps");
	$mesh->sql(1, 'TRUNCATE keyless');
	stops('not this one');
	like(last_error(), qr/TRUNCATE of table "public.keyless", transaction/, 'TRUNCATE');
	$mesh->sql(2, 'DROP TRIGGER keeps ON keyless');
	goes_on('TRUNCATE');
};

subtest 'remedies for what differs here' => sub {
	$mesh->sql(2, 'ALTER TABLE child ADD FOREIGN KEY (p) REFERENCES parent;
		DO $$ DECLARE r record; BEGIN FOR r IN SELECT tgname FROM pg_trigger WHERE tgrelid = \'child\'::regclass AND tgname LIKE \'RI%\' LOOP EXECUTE format(\'ALTER TABLE child ENABLE ALWAYS TRIGGER %I\', r.tgname); END LOOP; END $$');
	$mesh->sql(1, 'INSERT INTO child VALUES (1, 7)');
	stops('violates foreign key constraint');
	like(last_error(), qr/row \(id=1\).*HINT: Insert the row that is referred to here/, 'a foreign key');
	$mesh->sql(2, 'INSERT INTO parent VALUES (7)');
	goes_on('foreign key');
	$mesh->sql(2, 'ALTER TABLE child DROP COLUMN extra; ALTER TABLE child ADD COLUMN extra text GENERATED ALWAYS AS (id::text) STORED');
	$mesh->sql(1, "INSERT INTO child VALUES (2, NULL, 'x')");
	stops('is generated on this node');
	like(last_error(), qr/column "extra" of table "public.child" .*HINT: .*DROP EXPRESSION/, 'a column that is generated here');
	$mesh->sql(2, 'ALTER TABLE child ALTER COLUMN extra DROP EXPRESSION');
	goes_on('generated column');
	$mesh->sql(1, 'DELETE FROM child'); # what was computed here is not there
	$mesh->wait_converged;
	$mesh->sql(2, 'ALTER TABLE viewed RENAME TO viewed_; CREATE VIEW viewed AS SELECT * FROM viewed_');
	$mesh->sql(1, 'INSERT INTO viewed VALUES (1)');
	stops('is not a table on this node');
	like(last_error(), qr/HINT: Rename or drop what has the table.s name here/, 'a view in its place');
	$mesh->sql(2, 'DROP VIEW viewed');
	$mesh->sql(2, 'ALTER TABLE viewed_ RENAME TO viewed');
	goes_on('view');
};

subtest 'what is of the extension stays as it is' => sub {
	my @accepted;
	my $f = 'FUNCTION replication_plugin.my_id()';
	my $told = qr/cannot (?:change|drop) .* of extension "replication_plugin" while this database is a node.*HINT: .*leave_group|because extension replication_plugin requires it/s; # the second is of PostgreSQL
	my $before = $mesh->sql(1, q{SELECT md5(string_agg(pg_describe_object(classid, objid, objsubid), ' ' ORDER BY classid, objid)) FROM pg_depend WHERE deptype = 'e'});
	$mesh->sql(1, 'CREATE ROLE lowly; CREATE ROLE mighty SUPERUSER; CREATE ROLE other_mighty SUPERUSER; CREATE TABLE heir (LIKE replication_plugin.member INCLUDING ALL); CREATE VIEW reads AS SELECT 1 AS x');
	for my $sql (
		# relations and their columns
		'ALTER SCHEMA replication_plugin RENAME TO rp', 'ALTER SCHEMA replication_plugin OWNER TO lowly', 'ALTER TABLE replication_plugin.member RENAME TO m', 'ALTER TABLE replication_plugin.member RENAME COLUMN dsn TO d',
		'ALTER TABLE replication_plugin.member SET SCHEMA public', 'ALTER TABLE replication_plugin.frontier DROP COLUMN vector', 'ALTER TABLE replication_plugin.member ADD COLUMN x int',
		'ALTER TABLE replication_plugin.member SET UNLOGGED', 'ALTER TABLE replication_plugin.member DISABLE TRIGGER ALL', 'ALTER TABLE replication_plugin.member REPLICA IDENTITY NOTHING',
		'ALTER TABLE replication_plugin.member ENABLE ROW LEVEL SECURITY', 'ALTER TABLE replication_plugin.message_secret DISABLE ROW LEVEL SECURITY', 'ALTER TABLE replication_plugin.member ALTER dsn DROP NOT NULL',
		'ALTER TABLE replication_plugin.conflict_log ALTER detected_at SET DEFAULT now()', 'ALTER TABLE replication_plugin.member ALTER dsn TYPE varchar', 'ALTER TABLE replication_plugin.member OWNER TO lowly',
		'ALTER TABLE replication_plugin.exclusion SET (user_catalog_table = false)', 'ALTER TABLE replication_plugin.exclusion RESET (user_catalog_table)', 'ALTER VIEW replication_plugin.nodes SET (security_invoker = true)',
		'DROP TABLE replication_plugin.member', 'DROP TABLE replication_plugin.tombstone CASCADE', 'CREATE TABLE replication_plugin.mine (id int)', 'CREATE SEQUENCE replication_plugin.mine', 'ALTER TABLE heir SET SCHEMA replication_plugin',
		'CREATE TABLE child_of_ours () INHERITS (replication_plugin.member)', 'ALTER TABLE heir INHERIT replication_plugin.member', 'ALTER TABLE heir ADD FOREIGN KEY (node_id) REFERENCES replication_plugin.member',
		# constraints, indexes
		'ALTER TABLE replication_plugin.member DROP CONSTRAINT member_pkey', 'ALTER TABLE replication_plugin.member RENAME CONSTRAINT member_pkey TO x', 'ALTER TABLE replication_plugin.member ADD CHECK (node_id < 0) NOT VALID',
		'ALTER INDEX replication_plugin.member_pkey RENAME TO x', 'ALTER TABLE replication_plugin.member_pkey RENAME TO x', 'DROP INDEX replication_plugin.tombstone_key', 'SET search_path = replication_plugin; DROP INDEX parked_row_key CASCADE',
		'ALTER INDEX replication_plugin.tombstone_key RENAME TO x', 'ALTER INDEX replication_plugin.tombstone_key DEPENDS ON EXTENSION plpgsql', 'CREATE UNIQUE INDEX ON replication_plugin.tombstone ((1))',
		# triggers, rules, policies
		'DROP TRIGGER changed ON replication_plugin.member', 'ALTER TRIGGER changed ON replication_plugin.member RENAME TO x', 'CREATE OR REPLACE TRIGGER changed AFTER INSERT ON replication_plugin.member FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
		'CREATE TRIGGER x BEFORE INSERT ON replication_plugin.frontier FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'ALTER TABLE replication_plugin.member ENABLE REPLICA TRIGGER changed',
		'CREATE RULE x AS ON INSERT TO replication_plugin.frontier DO INSTEAD NOTHING', 'DROP RULE "_RETURN" ON replication_plugin.nodes', 'ALTER RULE "_RETURN" ON replication_plugin.nodes RENAME TO x', 'CREATE POLICY x ON replication_plugin.member',
		'DROP FUNCTION replication_plugin.settings_changed() CASCADE',
		# functions
		"ALTER $f RENAME TO x", "ALTER $f SECURITY INVOKER", "ALTER $f SET SCHEMA public", "ALTER $f OWNER TO lowly", "ALTER $f SET search_path = public", 'ALTER ROUTINE replication_plugin.my_id() RESET ALL', 'ALTER ROUTINE replication_plugin.my_id() VOLATILE',
		'SET search_path = replication_plugin; ALTER FUNCTION my_id() RENAME TO x', "CREATE OR REPLACE $f RETURNS integer LANGUAGE sql AS 'SELECT 1'", "SET search_path = replication_plugin, public; CREATE OR REPLACE FUNCTION my_id() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
		"CREATE FUNCTION replication_plugin.my_id(x int DEFAULT 1) RETURNS integer LANGUAGE sql AS 'SELECT 1'", "DROP $f", "DROP $f CASCADE", 'DROP ROUTINE replication_plugin.my_id()',
		# views
		'ALTER VIEW replication_plugin.nodes RENAME TO n', 'CREATE OR REPLACE VIEW replication_plugin.nodes AS SELECT 1', 'DROP VIEW replication_plugin.nodes', 'CREATE VIEW replication_plugin.x AS SELECT 1', 'ALTER VIEW reads SET SCHEMA replication_plugin',
		'ALTER VIEW replication_plugin.nodes ALTER node_name SET DEFAULT 1', 'ALTER VIEW replication_plugin.nodes RENAME node_name TO x',
		# event triggers, the extension
		'DROP EVENT TRIGGER replication_plugin_ddl', 'ALTER EVENT TRIGGER replication_plugin_ddl RENAME TO x', 'ALTER EVENT TRIGGER replication_plugin_ddl OWNER TO mighty; ALTER EVENT TRIGGER replication_plugin_ddl RENAME TO x',
		'CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION replication_plugin.capture_ddl()',
		'ALTER EXTENSION replication_plugin DROP TABLE replication_plugin.tombstone', "ALTER EXTENSION replication_plugin DROP $f", 'ALTER EXTENSION replication_plugin DROP EVENT TRIGGER replication_plugin_ddl', 'ALTER EXTENSION replication_plugin ADD TABLE heir',
		'CREATE STATISTICS replication_plugin.s ON node_id, dsn FROM replication_plugin.member', "CREATE OPERATOR replication_plugin.= (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)",
		# in many ways
		'ALTER TABLE replication_plugin.member OWNER TO mighty; REASSIGN OWNED BY mighty TO lowly', 'ALTER TABLE replication_plugin.member OWNER TO mighty; DROP OWNED BY mighty CASCADE', "ALTER $f OWNER TO mighty; DROP OWNED BY mighty CASCADE", "ALTER $f OWNER TO mighty; REASSIGN OWNED BY mighty TO lowly",
		(map { "DO \$\$ BEGIN EXECUTE '$_'; END \$\$" } 'DROP INDEX replication_plugin.row_state_key', 'DROP TRIGGER stable_after ON replication_plugin.removal', "ALTER $f SECURITY INVOKER"),
		'DROP TABLE heir, replication_plugin.tombstone', 'PREPARE a AS SELECT 1; DROP INDEX CONCURRENTLY IF EXISTS replication_plugin.tombstone_key')
	{
		my (undef, undef, $err) = $mesh->try_sql(1, $sql =~ /CONCURRENTLY/ ? $sql =~ s/.*; //r : "BEGIN; $sql; ROLLBACK");
		push @accepted, "$sql: $err" unless $err =~ $told;
	}
	is(CORE::join("\n", @accepted), '', 'a superuser is told, too');
	@accepted = ();
	for my $sql ('ALTER EVENT TRIGGER replication_plugin_ddl DISABLE', 'DROP OWNED BY CURRENT_USER CASCADE', 'DROP EXTENSION replication_plugin CASCADE', 'DROP SCHEMA replication_plugin CASCADE', 'ALTER EXTENSION replication_plugin SET SCHEMA public')
	{
		push @accepted, $sql if ($mesh->try_sql(1, "BEGIN; $sql; ROLLBACK"))[0] == 0;
	}
	is(CORE::join("\n", @accepted), '', 'what has errors of its own');
	is($mesh->sql(1, q{SELECT md5(string_agg(pg_describe_object(classid, objid, objsubid), ' ' ORDER BY classid, objid)) FROM pg_depend WHERE deptype = 'e'}), $before, 'and all is there');

	# what changes nothing that we count on
	my @refused;
	for my $sql ('ALTER TABLE replication_plugin.conflict_log SET (fillfactor = 90)', 'ALTER TABLE replication_plugin.conflict_log RESET (fillfactor)', 'ALTER TABLE replication_plugin.conflict_log ALTER table_name SET STATISTICS 10', 'VACUUM FULL replication_plugin.tombstone',
		'REINDEX TABLE CONCURRENTLY replication_plugin.tombstone', 'CLUSTER replication_plugin.tombstone USING tombstone_key', 'REINDEX TABLE CONCURRENTLY replication_plugin.member', 'VACUUM FULL replication_plugin.conflict_log', 'ANALYZE replication_plugin.member',
		'ALTER EVENT TRIGGER replication_plugin_ddl ENABLE ALWAYS', 'ALTER TABLE replication_plugin.conflict_log OWNER TO mighty', 'REASSIGN OWNED BY mighty TO other_mighty', 'ALTER TABLE replication_plugin.conflict_log OWNER TO postgres', "BEGIN; COMMENT ON $f IS 'x'; ROLLBACK", 'GRANT SELECT ON replication_plugin.nodes TO lowly',
		'REVOKE SELECT ON replication_plugin.nodes FROM lowly', 'CREATE VIEW watches AS SELECT * FROM replication_plugin.nodes', 'DROP VIEW watches', 'ALTER EXTENSION replication_plugin UPDATE', 'DROP TABLE heir', 'DROP VIEW reads', 'DROP ROLE mighty, other_mighty, lowly')
	{
		my ($status, undef, $err) = $mesh->try_sql(1, $sql);
		push @refused, "$sql: $err" if $status != 0;
	}
	is(CORE::join("\n", @refused), '', 'the rest is not refused');
	is($mesh->sql(1, 'SET allow_system_table_mods = on; ALTER FUNCTION replication_plugin.my_id() RENAME TO x; ALTER FUNCTION replication_plugin.x() RENAME TO my_id; SELECT replication_plugin.my_id() IS NOT NULL'), 't', 'nor who says that he knows what he does');
	goes_on('after all that');
};

subtest 'a relation that does not exist' => sub {
	my @internal;
	for my $oid (0, 4294967295)
	{
		for my $call ("siblings($oid, '{\"id\": 1}')", "causal_context($oid, '{\"id\": 1}')", "resolve($oid, '{\"id\": 1}', '{}', NULL)", "siblings_of($oid, ROW(1))",
			"context_of($oid, ROW(1))", "delete_unshown($oid, ROW(1))", "set_conflict_policy($oid, 'siblings')", "exclude_table($oid)", "resend_table($oid)",
			"call_handler($oid, 0, ROW(1), ROW(1))", "values_of_write($oid, '{}', '{}', '{}', 1, 1, '1')")
		{
			my (undef, undef, $err) = $mesh->try_sql(1, "\\set VERBOSITY verbose\nSELECT * FROM replication_plugin.$call");
			push @internal, "$call: $err" unless $err =~ /ERROR:  (42P01|42809|22023|55000): /;
		}
	}
	is(CORE::join("\n", @internal), '', 'is refused by that name');
};

subtest 'a transaction that the provider cannot decode' => sub {
	# PostgreSQL's own error: what an index expression writes comes between an INSERT ... ON CONFLICT and its confirmation; a call of
	# lo_put() that PL/pgSQL has prepared before in the transaction is not noticed
	$mesh->sql(1, 'SELECT lo_create(4711); CREATE FUNCTION really_writes(int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE x text; BEGIN x := lo_put(4711, 0, $x$x$x$); RETURN $1; END $$;
		CREATE FUNCTION inserts(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN really_writes($1); END $$;
		CREATE INDEX inserts ON spec (inserts(v))');
	$mesh->sql(1, "BEGIN; SELECT really_writes(1); INSERT INTO spec VALUES (1, 1) ON CONFLICT DO NOTHING; COMMIT");
	$mesh->sql(1, 'DROP INDEX inserts');
	$mesh->sql(1, 'INSERT INTO t VALUES (1000, 1)');
	# asked right after its error which transaction that was, a provider may not answer; the next time it does
	stops('cannot send its transaction .*invalid ordering of speculative insertion changes.*skip_transaction');
	my ($lsn) = last_error() =~ /skip_transaction\('node1', '([0-9A-F\/]+)'\)/;
	like(last_error(), qr/node "node1" cannot send its transaction/, 'it says where, and which transaction');
	$mesh->try_sql(2, "SELECT replication_plugin.skip_transaction('node1', '$lsn')") if $lsn;
	ok($mesh->poll(2, 'SELECT count(*) FROM t WHERE id = 1000', 1), 'skip_transaction() gets the link over it');
	goes_on('decoding');
	like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/was skipped by skip_transaction/, 'the log tells of it');
	$mesh->all_sql('DELETE FROM spec');
	$mesh->sql(1, 'SELECT lo_unlink(4711)');
	$mesh->wait_converged;
};

subtest 'one arriving row against two' => sub {
	my $conflict = sub {
		my ($i) = @_;
		return $mesh->sql($i, "SELECT string_agg(conflict_type || ' ' || resolution || ' ' || row_key, ', ' ORDER BY conflict_type, row_key::text) FROM replication_plugin.conflicts WHERE table_name = 'public.two'");
	};
	$mesh->pause_all;
	$mesh->sql(2, "INSERT INTO two VALUES (2, 'a', 'x'), (3, 'y', 'b')");
	$mesh->sql(1, "INSERT INTO two VALUES (1, 'a', 'b')");
	$mesh->resume_all;
	is($conflict->(2), 'multiple_unique_conflicts parked {"id": 2}, multiple_unique_conflicts parked {"id": 3}', 'two rows that make room');
	$mesh->all_sql('DELETE FROM replication_plugin.conflict_log');
	$mesh->pause_all;
	$mesh->sql(1, "INSERT INTO two VALUES (4, 'c', 'd')");
	$mesh->sql(2, "INSERT INTO two VALUES (5, 'c', 'd')");
	$mesh->resume_all;
	is($conflict->(1), 'multiple_unique_conflicts parked {"id": 4}', 'one row by two keys');
	$mesh->all_sql('DELETE FROM replication_plugin.conflict_log');
	$mesh->pause_all;
	$mesh->sql(1, "INSERT INTO two VALUES (6, 'e', 'f'), (7, 'g', 'h')");
	$mesh->sql(2, "INSERT INTO two VALUES (6, 'g', 'i')");
	$mesh->resume_all;
	is($conflict->(1), 'multiple_unique_conflicts apply_remote {"id": 6}, multiple_unique_conflicts parked {"id": 7}', 'its own key and another');
};

$mesh->is_identical('at the end');
done_testing();
