# Tables that not all nodes have: scratch tables of one node, tables that are dropped everywhere while rows are under way, tables that one node
# does not have yet, pg_repack; and tables that are left out by schema, by pattern, or before they exist.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TABLE kept (id int PRIMARY KEY, v text);
CREATE TABLE dropped (id int PRIMARY KEY, v text);
CREATE TABLE dropped_cart (id int PRIMARY KEY, v text);
CREATE TABLE dropped_parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE dropped_parts1 PARTITION OF dropped_parts DEFAULT;
CREATE TABLE dropped_full (v text);
ALTER TABLE dropped_full REPLICA IDENTITY FULL;
CREATE TABLE renamed (id int PRIMARY KEY, v text);
CREATE TABLE packed (id int PRIMARY KEY, n int);
INSERT INTO packed SELECT g, g FROM generate_series(1, 1000) g;
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('dropped_cart', 'siblings')");
$mesh->wait_converged;
my $row = 0;

# What node 1 writes from here on arrives at the others: one assertion.
sub goes_on
{
	my ($name, @others) = @_;
	$row++;
	$mesh->sql(1, "INSERT INTO kept VALUES ($row, 'x')");
	my @missing = grep { !$mesh->poll($_, "SELECT count(*) FROM kept WHERE id = $row", 1) } @others ? @others : (2, 3);
	is("@missing", '', $name);
	return !@missing;
}

# ---------- a scratch table of one node ----------

$mesh->sql(1, "CREATE TABLE scratch (id int PRIMARY KEY); INSERT INTO scratch VALUES (1)");
ok($mesh->poll(2, "SELECT last_error ~ 'scratch.*exists on node \"node1\"' FROM replication_plugin.links WHERE provider = 'node1'"),
	'as long as a node has it, its rows wait, and it is said where it is');
$mesh->sql(1, 'INSERT INTO scratch VALUES (2); UPDATE scratch SET id = 3 WHERE id = 2; DELETE FROM scratch WHERE id = 1; TRUNCATE scratch; DROP TABLE scratch');
goes_on('rows of a table that is gone everywhere are passed over') or BAIL_OUT('links do not go on');
is($mesh->sql(2, "SELECT count(*) FROM replication_plugin.conflicts WHERE table_name = 'public.scratch' AND conflict_type = 'table_missing' AND resolution = 'skip'"), 1,
	'which the view conflicts tells once');

# ---------- dropped on all nodes, with rows under way ----------

$mesh->pause(2, 1);
$mesh->sql(1, "INSERT INTO kept SELECT count(*) + 1000 FROM kept; INSERT INTO $_ VALUES (1, 'a'); UPDATE $_ SET v = 'b'; INSERT INTO $_ VALUES (2, 'c'); DELETE FROM $_ WHERE id = 2; TRUNCATE $_")
	for qw(dropped dropped_cart dropped_parts);
$mesh->sql(1, "INSERT INTO dropped_full VALUES ('a'); TRUNCATE dropped_full");
$mesh->all_sql('DROP TABLE dropped, dropped_cart, dropped_parts, dropped_full');
$mesh->resume(2, 1);
goes_on('tables that were dropped on all nodes');
is($mesh->sql(2, 'SELECT count(*) FROM kept WHERE id >= 1000'), 3, 'other rows of the transactions are there');

# ---------- not here yet ----------

$mesh->sql(1, "CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)");
$mesh->sql(3, 'CREATE TABLE late (id int PRIMARY KEY)');
$mesh->sql(1, 'DROP TABLE late');
ok($mesh->poll(2, "SELECT last_error ~ 'late.*exists on node \"node3\"' FROM replication_plugin.links WHERE provider = 'node1'"),
	'a table that another member has is waited for');
$mesh->sql($_, 'CREATE TABLE late (id int PRIMARY KEY)') for 1, 2;
goes_on('when it is made, the link goes on');
is($mesh->sql($_, 'SELECT count(*) FROM late'), 1, "node $_ has its row") for 2, 3;
$mesh->all_sql('DROP TABLE late');

# ---------- a member that cannot be asked; exclusion ----------

$mesh->node(3)->stop;
$mesh->sql(1, 'CREATE TABLE unsure (id int PRIMARY KEY); INSERT INTO unsure VALUES (1); DROP TABLE unsure');
ok($mesh->poll(2, "SELECT last_error ~ 'unsure.*node \"node3\" cannot be asked.*exclude_tables' FROM replication_plugin.links WHERE provider = 'node1'"),
	'a member that cannot be asked may have the table');
$mesh->sql(2, "SELECT replication_plugin.exclude_tables('public', 'unsure')");
goes_on('rows of a table that is left out are passed over', 2);
$mesh->start_server(3);
goes_on('the third goes on as well', 3);
$mesh->wait_for_streaming;

# ---------- another name ----------

$mesh->pause(2, 1);
$mesh->sql(1, "INSERT INTO renamed VALUES (1, 'under way')");
$mesh->sql($_, 'ALTER TABLE renamed RENAME TO new_name') for 1, 2;
$mesh->resume(2, 1);
ok($mesh->poll(2, "SELECT last_error ~ 'renamed.*calls it public.new_name now.*former name public.renamed' FROM replication_plugin.links WHERE provider = 'node1'"),
	'a table that has another name by now is not gone');
$mesh->sql(2, 'ALTER TABLE new_name RENAME TO renamed');
goes_on('with its former name', 2);
$mesh->poll(3, 'SELECT count(*) FROM renamed', 1) or die;
$mesh->sql($_, 'ALTER TABLE renamed RENAME TO new_name') for 2, 3;
is($mesh->sql($_, 'SELECT v FROM new_name'), 'under way', "the row is in the table of the new name on node $_") for 1 .. 3;
$mesh->wait_converged;

# ---------- left out by schema, pattern, or before it exists ----------

$mesh->sql(2, "SELECT replication_plugin.exclude_tables('tools'); SELECT replication_plugin.exclude_tables('public', 'tmp_*'); SELECT replication_plugin.exclude_tables('public', 'future')");
$mesh->wait_converged;
$mesh->sql(1, <<'SQL');
CREATE SCHEMA tools;
CREATE TABLE tools.job (id int, v text);
INSERT INTO tools.job VALUES (1, 'a'), (2, 'b');
UPDATE tools.job SET v = 'c';
CREATE TABLE tmp_x (id int PRIMARY KEY);
INSERT INTO tmp_x VALUES (1);
CREATE TABLE tools.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE tools_p1 PARTITION OF tools.p DEFAULT;
INSERT INTO tools.p VALUES (1);
SQL
$mesh->all_sql('CREATE TABLE future (id int PRIMARY KEY); CREATE TABLE futures (id int PRIMARY KEY)');
$mesh->sql(1, 'INSERT INTO future VALUES (1); INSERT INTO futures VALUES (1)');
goes_on('tables that are left out stop nothing');
is($mesh->sql(2, 'SELECT (SELECT count(*) FROM future), (SELECT count(*) FROM futures)'), '0|1', 'names of rules are whole names');
is($mesh->sql(1, q{SELECT string_agg("table"::text || ': ' || note, E'\n' ORDER BY "table"::text) FROM replication_plugin.tables WHERE NOT replicated}),
	"future: excluded by exclude_tables('public', 'future')\ntmp_x: excluded by exclude_tables('public', 'tmp_*')\ntools.job: excluded by exclude_tables('tools', '*')\ntools.p: excluded by exclude_tables('tools', '*')",
	'the view tables says by which rule');
$mesh->sql(3, "SELECT replication_plugin.include_tables('public', 'futur*')");
$mesh->sql(3, "SELECT replication_plugin.include_table('future')");
$mesh->wait_converged;
$mesh->sql(1, "DELETE FROM future; INSERT INTO future VALUES (2)");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT string_agg(id::text, $$,$$) FROM future'), 2, "the newest rule counts, node $_") for 2, 3;
is($mesh->sql(2, q{SELECT "table" FROM replication_plugin.exclusions WHERE NOT excluded}), 'futur*', 'the rules are in a view');

# ---------- pg_repack of a replicated table on one node, beside writes ----------

my $oid = $mesh->sql(1, "SELECT 'packed'::regclass::oid");
my @load = $mesh->start_load(<<'SQL', 30, 1, 2);
\set id random(1, 60)
UPDATE packed SET n = n + 1 WHERE id = :id;
\set gone random(801, 1000)
DELETE FROM packed WHERE id = :gone;
\set new random(1, 1000000)
INSERT INTO packed VALUES (2000 + :new * 4 + :side, 0) ON CONFLICT DO NOTHING;
SQL
# what is under way meanwhile is older than the copies
$mesh->pause($_->[0], $_->[1]) for [ 1, 2 ], [ 3, 1 ];
$mesh->sql(2, 'UPDATE packed SET n = 100000 WHERE id BETWEEN 501 AND 510; DELETE FROM packed WHERE id BETWEEN 511 AND 520');
$mesh->sql(1, 'UPDATE packed SET n = 200000 WHERE id BETWEEN 505 AND 515');
my $apply = "DO \$\$ DECLARE l record; BEGIN
	FOR l IN SELECT * FROM repack.log_$oid ORDER BY id LOOP
		IF l.pk IS NULL THEN INSERT INTO repack.table_$oid SELECT (l.\"row\").*;
		ELSIF l.\"row\" IS NULL THEN DELETE FROM repack.table_$oid WHERE id = (l.pk).id;
		ELSE UPDATE repack.table_$oid SET (id, n) = ((l.\"row\").id, (l.\"row\").n) WHERE id = (l.pk).id; END IF;
		DELETE FROM repack.log_$oid WHERE id = l.id;
	END LOOP; END \$\$";
$mesh->sql(1, $_) for
	"CREATE SCHEMA repack; CREATE TYPE repack.pk_$oid AS (id int); CREATE TABLE repack.log_$oid (id bigserial PRIMARY KEY, pk repack.pk_$oid, \"row\" public.packed)",
	"CREATE FUNCTION repack.repack_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
		INSERT INTO repack.log_$oid (pk, \"row\") VALUES (CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE row(OLD.id)::repack.pk_$oid END, CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE NEW END);
		RETURN NULL; END \$\$",
	"CREATE TRIGGER repack_trigger AFTER INSERT OR DELETE OR UPDATE ON public.packed FOR EACH ROW EXECUTE FUNCTION repack.repack_trigger();
		ALTER TABLE public.packed ENABLE ALWAYS TRIGGER repack_trigger; ALTER TABLE repack.log_$oid SET (autovacuum_enabled = off)",
	"BEGIN ISOLATION LEVEL SERIALIZABLE; DELETE FROM repack.log_$oid; CREATE TABLE repack.table_$oid AS SELECT id, n FROM ONLY public.packed WITH NO DATA;
		INSERT INTO repack.table_$oid SELECT id, n FROM ONLY public.packed; ALTER TABLE repack.table_$oid SET (autovacuum_enabled = off); COMMIT",
	"CREATE UNIQUE INDEX index_$oid ON repack.table_$oid (id)", $apply, $apply,
	"BEGIN; LOCK TABLE public.packed IN ACCESS EXCLUSIVE MODE; $apply; SET LOCAL allow_system_table_mods = on;
		UPDATE pg_class c SET relfilenode = o.relfilenode FROM pg_class o WHERE (c.oid, o.oid) IN (('packed'::regclass, 'repack.table_$oid'::regclass), ('repack.table_$oid'::regclass, 'packed'::regclass),
			('packed_pkey'::regclass, 'repack.index_$oid'::regclass), ('repack.index_$oid'::regclass, 'packed_pkey'::regclass)); COMMIT",
	"DROP TABLE repack.table_$oid; DROP TRIGGER repack_trigger ON packed; DROP SCHEMA repack CASCADE", 'ANALYZE packed';
$mesh->stop_load(@load);
$mesh->resume(1, 2);
$mesh->resume(3, 1);
goes_on('pg_repack of a table stops nothing');
$mesh->wait_converged;
$mesh->sql(1, 'UPDATE packed SET n = n + 1 WHERE id < 100');
$mesh->sql(2, 'UPDATE packed SET n = n + 1 WHERE id > 50');
$mesh->sql(3, 'DELETE FROM packed WHERE id > 90 AND id < 110');
$mesh->wait_converged;
is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.tables WHERE out_of_step"), 0, 'nothing is out of step');
$mesh->is_identical('at the end');
done_testing();
