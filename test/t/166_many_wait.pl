# Very many tables of one owner cannot be applied: others are not held up by each of them.
use strict;
use warnings;
use Mesh;
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3, conf => "replication_plugin.table_patience = 2s\nreplication_plugin.row_timeout = 5s\nmax_locks_per_transaction = 512\n");
$mesh->sql($_, 'CREATE ROLE mallory LOGIN') for 1 .. 3;
$mesh->make_group(<<'SQL');
CREATE TABLE bank (id int PRIMARY KEY, v text);
CREATE SCHEMA m AUTHORIZATION mallory;
SQL
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $many = $ENV{MANY} || 300;
my $round = 0;

# a row of others arrives in time
sub goes_on
{
	my ($what, $limit, $at, @nodes) = @_;
	$round++;
	my $begun = time;
	$mesh->sql($at, "INSERT INTO bank VALUES ($round, 'x')");
	for my $i (@nodes)
	{
		ok($mesh->poll($i, "SELECT count(*) FROM bank WHERE id = $round", '1', 120), "$what: rows of others arrive on node $i");
		my $took = time - $begun;
		note(sprintf('%s: node %d after %.1f s', $what, $i, $took));
		cmp_ok($took, '<', $limit, "$what: in time on node $i");
	}
}

sub each_of
{
	my (@sql) = @_;
	return "DO \$\$ BEGIN FOR i IN 1..$many LOOP " . join(' ', map { $_ eq 'COMMIT' ? 'COMMIT;' : "EXECUTE replace('$_', '%', i::text);" } @sql) . ' END LOOP; END $$';
}

$mesh->sql(1, $as . each_of('CREATE TABLE m.a_% (id int PRIMARY KEY, v text)', "INSERT INTO m.a_% VALUES (1, ''x'')"));
goes_on('missing tables in one transaction', 20, 1, 2, 3);
$mesh->sql(1, $as . each_of("INSERT INTO m.a_% VALUES (2, ''x'')"));
goes_on('more rows of them', 20, 1, 2, 3);
$mesh->sql(1, $as . each_of('CREATE TABLE m.b_% (id int PRIMARY KEY, v text)', "INSERT INTO m.b_% VALUES (1, ''x'')", 'COMMIT'));
goes_on('missing tables, each in a transaction', 20, 1, 2, 3);
$mesh->sql(1, $as . each_of('CREATE TABLE m.c_% (id int PRIMARY KEY, v text)', "INSERT INTO m.c_% VALUES (1, ''x'')", 'ALTER TABLE m.c_% RENAME TO c2_%'));
goes_on('renamed at once', 20, 1, 2, 3);
$mesh->sql(1, $as . each_of('CREATE TABLE m.d_% (id int PRIMARY KEY, v text)', "INSERT INTO m.d_% VALUES (1, ''x'')", 'DROP TABLE m.d_%'));
goes_on('dropped at once', 20, 1, 2, 3);
$mesh->sql(1, $as . each_of('CREATE TABLE m.e_% (id int PRIMARY KEY, v text)', "INSERT INTO m.e_% VALUES (1, ''x'')", 'DROP TABLE m.e_%', 'COMMIT'));
goes_on('dropped, each in a transaction', 20, 1, 2, 3);
$mesh->sql($_, "$as CREATE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF session_user <> ''mallory'' THEN RAISE ''no way''; END IF; RETURN new; END'; "
	. each_of('CREATE TABLE m.f_% (id int PRIMARY KEY, v text)', 'CREATE TRIGGER t BEFORE INSERT ON m.f_% FOR EACH ROW EXECUTE FUNCTION m.fails()', 'ALTER TABLE m.f_% ENABLE ALWAYS TRIGGER t')) for 1 .. 3;
$mesh->sql(1, $as . each_of("INSERT INTO m.f_% VALUES (1, ''x'')"));
goes_on('failing code in one transaction', 20, 1, 2, 3);

# a node behind one that keeps such changes, and has none of the tables either
$mesh->sql(1, "SELECT replication_plugin.set_topology('star', '{node1,node2,node3}')");
$mesh->wait_for_links(Mesh::star_links(1, 2, 3));
$mesh->sql(2, $as . each_of('CREATE TABLE m.g_% (id int PRIMARY KEY, v text)', "INSERT INTO m.g_% VALUES (1, ''x'')"));
goes_on('by way of a node that keeps them', 20, 2, 1, 3);
is($mesh->sql(3, q{SELECT count(*), min(owner), max(owner) FROM replication_plugin.waiting_tables WHERE "table" LIKE 'g\\_%'}), "$many|mallory|mallory", 'whose they are is known there');

# renamed where it comes from: the node behind asks that one, and not only the one between, by the number there
$mesh->sql(2, "$as BEGIN; CREATE TABLE m.h (id int PRIMARY KEY, v text); INSERT INTO m.h VALUES (1, 'x'); ALTER TABLE m.h RENAME TO h2; COMMIT");
goes_on('renamed, by way of a node that keeps it', 20, 2, 1, 3);
is($mesh->sql($_, q{SELECT count(*) FROM replication_plugin.waiting_tables WHERE "table" = 'h'}), '1', "renamed where it comes from: it waits on node $_") for 1, 3;
$mesh->sql($_, "$as CREATE TABLE m.h (id int PRIMARY KEY, v text)") for 1, 3;
ok($mesh->poll($_, 'SELECT v FROM m.h', 'x', 120), "and its row comes to node $_, once the table has its former name there") for 1, 3;

# all is applied when it can be
$mesh->sql($_, 'SET SESSION AUTHORIZATION mallory; CREATE OR REPLACE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN RETURN new; END\'') for 1 .. 3;
for my $i (1 .. 3)
{
	$mesh->sql($i, $as . "DO \$\$ BEGIN FOR i IN 1..$many LOOP EXECUTE format('CREATE TABLE IF NOT EXISTS m.a_%s (id int PRIMARY KEY, v text)', i); EXECUTE format('CREATE TABLE IF NOT EXISTS m.g_%s (id int PRIMARY KEY, v text)', i); END LOOP; END \$\$");
	ok($mesh->poll($i, q{SELECT count(*) FROM replication_plugin.waiting_tables WHERE "table" ~ '^[afg]_'}, '0', 300), "what can be applied is: node $i")
		or diag($mesh->sql($i, q{SELECT "table", reason, changes, retry_at FROM replication_plugin.waiting_tables WHERE "table" ~ '^[afg]_' LIMIT 5}));
}
my $sums = 'SELECT string_agg(query_to_xml(format($q$SELECT t::text FROM m.%s_%s t ORDER BY 1$q$, x, i), true, false, $$$$)::text, $$$$ ORDER BY i, x) FROM generate_series(1, ' . $many . ') i, unnest(ARRAY[$$a$$, $$f$$, $$g$$]) x';
my %sums = map { $mesh->sql($_, $sums) => 1 } 1 .. 3;
is(scalar keys %sums, 1, 'their rows are the same on all nodes');
done_testing();
