# Tables without a key. By default their UPDATE and DELETE are refused; with the group setting keyless_tables = 'full' new ones
# log whole rows. Partitions of a table that logs whole rows do so too, else their changes would be lost in silence.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group('CREATE TABLE before (a int, b text);
	CREATE TABLE parted (a int, b text) PARTITION BY RANGE (a);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
	ALTER TABLE parted REPLICA IDENTITY FULL');

# a partition keeps its own replica identity in PostgreSQL: on a member it follows its root
$mesh->all_sql('CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
	CREATE TABLE parted_3 (LIKE parted); ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES FROM (200) TO (300)');
$mesh->sql(1, "INSERT INTO parted VALUES (1, 'x'), (101, 'x'), (201, 'x'), (2, 'x'), (102, 'x'), (202, 'x')");
$mesh->wait_converged;
$mesh->sql(2, "UPDATE parted SET b = 'changed' WHERE a IN (1, 101, 201); DELETE FROM parted WHERE a IN (2, 102, 202)");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT string_agg(a || b, $$ $$ ORDER BY a) FROM parted'), '1changed 101changed 201changed', "node $_: changes of all partitions arrive")
	for 1, 2;

$mesh->all_sql('CREATE TABLE keyless_default (a int, b text)');
$mesh->sql(1, "INSERT INTO keyless_default VALUES (1, 'x')");
my (undef, undef, $err) = $mesh->try_sql(1, "UPDATE keyless_default SET b = 'y'");
like($err, qr/cannot update table "keyless_default" because it is replicated and its rows have no key/, 'refused by default');
is($mesh->sql(1, "SELECT value FROM replication_plugin.group_settings WHERE name = 'keyless_tables'"), 'refuse', 'the default is shown');

for my $c ([ "'keyless_tables', 'maybe'", qr/group setting "keyless_tables" cannot be "maybe"\nHINT:  It can be refuse or full/ ],
	[ "'keyles_tables', 'full'", qr/there is no group setting "keyles_tables"\nHINT:.*group_settings/ ],
	[ "NULL, 'full'", qr/must not be null/ ])
{
	(undef, undef, $err) = $mesh->try_sql(1, "SELECT replication_plugin.set_group_setting($c->[0])");
	like($err, $c->[1], "set_group_setting($c->[0])");
}
$mesh->sql(2, "SELECT replication_plugin.set_group_setting('keyless_tables', 'full')");
$mesh->wait_converged;
is($mesh->sql($_, "SELECT value FROM replication_plugin.group_settings WHERE name = 'keyless_tables'"), 'full', "node $_ knows the setting") for 1, 2;

$mesh->all_sql('CREATE TABLE log (a int, b text); CREATE TABLE copy_of AS SELECT 1 AS a, $$one$$::text AS b WHERE false;
	CREATE TABLE keyed (a int PRIMARY KEY, b text); CREATE SCHEMA AUTHORIZATION CURRENT_USER CREATE TABLE inside (a int, b text);
	CREATE TABLE days (a int, b text) PARTITION BY LIST (a); CREATE TABLE day1 PARTITION OF days FOR VALUES IN (1)');
is($mesh->sql(1, "SELECT string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname) FROM pg_class
	WHERE relname IN ('log', 'copy_of', 'keyed', 'keyless_default', 'days', 'day1', 'inside')"),
	'copy_of f, day1 f, days f, inside f, keyed d, keyless_default d, log f', 'new tables without a key log whole rows, and no others');
for my $t (qw(log copy_of days))
{
	$mesh->sql(1, "INSERT INTO $t VALUES (1, 'x'), (1, 'x'), (1, 'y')");
	$mesh->wait_converged;
	$mesh->sql(2, "UPDATE $t SET b = 'z' WHERE b = 'y'; DELETE FROM $t WHERE ctid = (SELECT min(ctid) FROM $t WHERE b = 'x')");
}
$mesh->wait_converged;
for my $t (qw(log copy_of days))
{
	is($mesh->sql($_, "SELECT string_agg(b, '' ORDER BY b) FROM $t"), 'xz', "node $_: UPDATE and DELETE of $t") for 1, 2;
}
$mesh->sql(1, "SELECT replication_plugin.set_group_setting('keyless_tables', 'refuse')");
$mesh->wait_converged;
is($mesh->sql(2, "SELECT value FROM replication_plugin.group_settings WHERE name = 'keyless_tables'"), 'refuse', 'taken back');
$mesh->is_identical('tables without a key');
done_testing();
