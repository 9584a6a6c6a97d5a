# Keys WITHOUT OVERLAPS (PostgreSQL 18 and newer): a row is the one with an equal key, all columns of it; rows that overlap and are not
# equal contest a place, as by any exclusion constraint: the newest is shown everywhere, the others are parked, and come back.
use strict;
use warnings;
use Mesh;
use Test::More;

my ($major) = `postgres --version` =~ /\) (\d+)/;
plan skip_all => "PostgreSQL $major has no keys WITHOUT OVERLAPS: needs 18" if $major < 18;

my $seed = Mesh::seed();
my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE EXTENSION btree_gist;
CREATE TABLE booking (room int, during int4range, v text, PRIMARY KEY (room, during WITHOUT OVERLAPS));
CREATE TABLE term (name text COLLATE "C", during int4multirange, v text, PRIMARY KEY (name, during WITHOUT OVERLAPS));
CREATE TABLE ranges (kind int4range, during int4range, v text, PRIMARY KEY (kind, during WITHOUT OVERLAPS));
CREATE TABLE by_unique (host inet NOT NULL, during int4range NOT NULL, v text, CONSTRAINT by_unique_key UNIQUE (host, during WITHOUT OVERLAPS));
ALTER TABLE by_unique REPLICA IDENTITY USING INDEX by_unique_key;
CREATE TABLE also (id int PRIMARY KEY, room int, during int4range, UNIQUE (room, during WITHOUT OVERLAPS));
CREATE TABLE part (room int, during int4range, v text, PRIMARY KEY (room, during WITHOUT OVERLAPS)) PARTITION BY LIST (room);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 (v text, gone int, during int4range NOT NULL, room int NOT NULL);
ALTER TABLE part2 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES IN (2);
SQL
my @nodes = 1 .. 3;

# What a node shows of a table and has parked, as text.
sub state_of
{
	my ($i, $table) = @_;
	return $mesh->sql($i, "SELECT coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\") FROM $table x), '') || ' | '
		|| coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\") FROM replication_plugin.parked_of(NULL::$table) x), '')");
}

# All nodes come to show this. One assertion.
sub shows
{
	my ($table, $expected, $name) = @_;
	$mesh->all_look(sub { state_of($_[0], $table) }, $expected, "$table: $name", @nodes);
}

# ---------- one after the other: what one node may do, all take ----------

$mesh->sql(1, "INSERT INTO booking VALUES (1, '[1,10)', 'a'), (1, '[10,20)', 'b'), (2, '[5,15)', 'c')");
shows('booking', '(1,"[1,10)",a) (1,"[10,20)",b) (2,"[5,15)",c) | ', 'neighbours stand beside each other');
$mesh->sql(2, "UPDATE booking SET v = 'A' WHERE room = 1 AND during = '[1,10)'");
shows('booking', '(1,"[1,10)",A) (1,"[10,20)",b) (2,"[5,15)",c) | ', 'an update of a value');
$mesh->sql(3, "UPDATE booking SET during = '[3,8)' WHERE room = 1 AND during = '[1,10)'");
shows('booking', '(1,"[10,20)",b) (1,"[3,8)",A) (2,"[5,15)",c) | ', 'a range that overlaps with what it was');
$mesh->sql(1, "INSERT INTO booking VALUES (1, '[1,3)', 'd')");
shows('booking', '(1,"[1,3)",d) (1,"[10,20)",b) (1,"[3,8)",A) (2,"[5,15)",c) | ', 'the place that it has left');
$mesh->sql(2, "BEGIN; DELETE FROM booking WHERE room = 1 AND during = '[3,8)'; INSERT INTO booking VALUES (1, '[4,9)', 'e'); COMMIT");
shows('booking', '(1,"[1,3)",d) (1,"[10,20)",b) (1,"[4,9)",e) (2,"[5,15)",c) | ', 'a delete and an overlapping insert');
$mesh->sql(2, "DELETE FROM booking");
shows('booking', ' | ', 'deleted');
is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.conflicts'), 0, "node $_ saw no conflict in that") for @nodes;

# ---------- at once ----------

$mesh->concurrently([ 1, "INSERT INTO booking VALUES (1, '[1,10)', 'one')" ], [ 2, "INSERT INTO booking VALUES (1, '[5,15)', 'two')" ],
	[ 3, "INSERT INTO booking VALUES (1, '[14,20)', 'three'), (2, '[5,15)', 'other room')" ]);
shows('booking', '(1,"[1,10)",one) (1,"[14,20)",three) (2,"[5,15)","other room") | (1,"[5,15)",two)', 'the middle one gives way to the newer one, and the first stands');
$mesh->sql(2, "DELETE FROM booking WHERE v = 'three'");
shows('booking', '(1,"[5,15)",two) (2,"[5,15)","other room") | (1,"[1,10)",one)', 'then the middle one has the place, and the first gives way');
$mesh->sql(3, "UPDATE booking SET during = '[10,15)' WHERE v = 'two'");
shows('booking', '(1,"[1,10)",one) (1,"[10,15)",two) (2,"[5,15)","other room") | ', 'a shorter range lets the first come back');
$mesh->concurrently([ 1, "UPDATE booking SET during = '[20,30)' WHERE v = 'one'" ], [ 2, "UPDATE booking SET during = '[25,35)' WHERE v = 'two'" ]);
shows('booking', '(1,"[25,35)",two) (2,"[5,15)","other room") | (1,"[20,30)",one)', 'two ranges moved to one place');
$mesh->concurrently([ 1, "INSERT INTO booking VALUES (1, '[40,45)', 'four')" ], [ 2, "UPDATE booking SET during = '[44,50)' WHERE v = 'two'" ],
	[ 3, "UPDATE booking SET v = 'two, changed' WHERE v = 'two'" ]);
shows('booking', '(1,"[25,35)","two, changed") (1,"[44,50)",two) (2,"[5,15)","other room") | (1,"[20,30)",one) (1,"[40,45)",four)',
	'a row that is moved and written at once is both, where both fit');
$mesh->sql(1, 'TRUNCATE booking');
shows('booking', ' | ', 'TRUNCATE takes parked rows as well');

$mesh->concurrently([ 1, "INSERT INTO booking VALUES (1, '[1,10)', 'one')" ], [ 2, "INSERT INTO booking VALUES (1, '[1,10)', 'two')" ],
	[ 3, "INSERT INTO booking VALUES (1, '[1,10)', 'three')" ]);
shows('booking', '(1,"[1,10)",three) | ', 'equal keys are one row: nothing is parked');
$mesh->concurrently([ 1, "UPDATE booking SET v = 'first'" ], [ 2, "UPDATE booking SET v = 'second'" ], [ 3, "DELETE FROM booking" ]);
shows('booking', ' | ', 'the delete is the newest');
$mesh->concurrently([ 1, "INSERT INTO booking VALUES (1, '[1,5)', 'x')" ], [ 2, "INSERT INTO booking VALUES (1, '[1,5)', 'y'), (1, '[5,9)', 'z')" ],
	[ 3, "INSERT INTO booking VALUES (1, '[4,6)', 'between')" ]);
shows('booking', '(1,"[4,6)",between) | (1,"[1,5)",y) (1,"[5,9)",z)', 'one in the way of two');
$mesh->sql(1, "DELETE FROM booking WHERE v = 'between'");
shows('booking', '(1,"[1,5)",y) (1,"[5,9)",z) | ', 'both come back');

# ---------- other types of keys ----------

$mesh->concurrently([ 1, "INSERT INTO term VALUES ('a', '{[1,3),[7,9)}', 'one'), ('b', '{[1,9)}', 'one')" ], [ 2, "INSERT INTO term VALUES ('a', '{[2,4)}', 'two'), ('b', '{[1,9)}', 'two')" ],
	[ 3, "INSERT INTO term VALUES ('a', '{[3,7)}', 'three')" ]);
shows('term', '(a,"{[1,3),[7,9)}",one) (a,"{[3,7)}",three) (b,"{[1,9)}",two) | (a,"{[2,4)}",two)', 'multiranges');
$mesh->concurrently([ 1, "INSERT INTO ranges VALUES ('[1,2)', '[1,5)', 'one')" ], [ 2, "INSERT INTO ranges VALUES ('[1,2)', '[4,6)', 'two')" ],
	[ 3, "INSERT INTO ranges VALUES ('[1,3)', '[1,9)', 'three')" ]);
shows('ranges', '("[1,2)","[4,6)",two) ("[1,3)","[1,9)",three) | ("[1,2)","[1,5)",one)', 'a range that must be equal to conflict');
$mesh->concurrently([ 1, "INSERT INTO by_unique VALUES ('10.0.0.1', '[1,5)', 'one'), ('10.0.0.2', '[1,5)', 'one')" ],
	[ 2, "INSERT INTO by_unique VALUES ('10.0.0.1', '[4,6)', 'two'), ('10.0.0.2/31', '[4,6)', 'two')" ]);
shows('by_unique', '(10.0.0.1,"[4,6)",two) (10.0.0.2,"[1,5)",one) (10.0.0.2/31,"[4,6)",two) | (10.0.0.1,"[1,5)",one)', 'the replica identity is a unique constraint, of a type whose index is lossy');
$mesh->sql(3, "UPDATE by_unique SET v = 'changed' WHERE host = '10.0.0.2'");
$mesh->sql(3, "DELETE FROM by_unique WHERE host = '10.0.0.1'");
shows('by_unique', '(10.0.0.1,"[1,5)",one) (10.0.0.2,"[1,5)",changed) (10.0.0.2/31,"[4,6)",two) | ', 'update and delete');
$mesh->concurrently([ 1, "INSERT INTO also VALUES (1, 1, '[1,5)'), (2, NULL, '[1,5)')" ], [ 2, "INSERT INTO also VALUES (3, 1, '[4,6)'), (4, NULL, '[1,5)')" ]);
shows('also', '(2,,"[1,5)") (3,1,"[4,6)") (4,,"[1,5)") | (1,1,"[1,5)")', 'a unique constraint beside another key');
$mesh->concurrently([ 1, "INSERT INTO part VALUES (1, '[1,5)', 'one'), (2, '[1,5)', 'one')" ], [ 2, "INSERT INTO part VALUES (1, '[4,6)', 'two'), (2, '[5,6)', 'two')" ]);
shows('part', '(1,"[4,6)",two) (2,"[1,5)",one) (2,"[5,6)",two) | (1,"[1,5)",one)', 'partitions');
$mesh->sql(3, "UPDATE part SET room = 2, during = '[9,10)' WHERE room = 1");
shows('part', '(1,"[1,5)",one) (2,"[1,5)",one) (2,"[5,6)",two) (2,"[9,10)",two) | ', 'a row moves to another partition');

# ---------- what such a key cannot have ----------

for my $call ("set_conflict_policy('booking', 'siblings')", "set_column_merge('booking', 'v', 'last_write_wins')")
{
	like(($mesh->try_sql(1, "SELECT replication_plugin.$call"))[2], qr/table "(?:public\.)?booking" cannot have a conflict policy, or columns that merge: its primary key is WITHOUT OVERLAPS/, "refused: $call");
}
like(($mesh->try_sql(1, q~SELECT replication_plugin.resolve('booking', '{"room": 1, "during": "[1,5)"}', NULL)~))[2], qr/its primary key is WITHOUT OVERLAPS/, 'refused: resolve()');

# Nor does a table that has a policy get such a key, whatever it is to be.
$mesh->sql($_, 'CREATE TABLE merged (id int PRIMARY KEY, room int NOT NULL, during int4range NOT NULL, CONSTRAINT merged_during UNIQUE (room, during WITHOUT OVERLAPS))') for @nodes;
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('merged', 'siblings')");
$mesh->wait_converged;
for my $i (1, 2)
{
	for my $alter ('DROP CONSTRAINT merged_pkey, ADD PRIMARY KEY (room, during WITHOUT OVERLAPS)', 'REPLICA IDENTITY USING INDEX merged_during')
	{
		like(($mesh->try_sql($i, "ALTER TABLE merged $alter"))[2],
			qr/the key of table "merged" cannot be WITHOUT OVERLAPS: the table has a conflict policy, or columns that merge\nHINT:  Give it another primary key/, "node $i: refused: $alter");
	}
}
$mesh->sql(1, "INSERT INTO merged VALUES (1, 1, '[1,5)')");
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT count(*) FROM merged'), 1, 'that table goes on');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('merged')");
$mesh->wait_converged;
is(($mesh->try_sql(1, 'ALTER TABLE merged DROP CONSTRAINT merged_pkey, ADD PRIMARY KEY (room, during WITHOUT OVERLAPS)'))[2], '', 'one that is not replicated may have any key');
$mesh->sql($_, 'DROP TABLE merged') for @nodes;
$mesh->sql(1, 'CREATE TABLE identity (id int PRIMARY KEY, room int NOT NULL, during int4range NOT NULL, CONSTRAINT identity_during UNIQUE (room, during WITHOUT OVERLAPS));
	ALTER TABLE identity REPLICA IDENTITY USING INDEX identity_during');
like(($mesh->try_sql(1, "SELECT replication_plugin.set_conflict_policy('identity', 'siblings')"))[2], qr/its replica identity is WITHOUT OVERLAPS; set it to DEFAULT/, 'refused: a replica identity');
$mesh->sql(1, 'DROP TABLE identity');

# ---------- resend, and a node that joins while rows are parked ----------

$mesh->sql(2, "SELECT replication_plugin.resend_table('booking'), replication_plugin.resend_table('ranges')");
$mesh->wait_converged;
shows('booking', '(1,"[1,5)",y) (1,"[5,9)",z) | ', 'sent again');
push @nodes, $mesh->add_server;
$mesh->join(4);
shows('ranges', '("[1,2)","[4,6)",two) ("[1,3)","[1,9)",three) | ("[1,2)","[1,5)",one)', 'a new node has what is parked as well');
shows('term', '(a,"{[1,3),[7,9)}",one) (a,"{[3,7)}",three) (b,"{[1,9)}",two) | (a,"{[2,4)}",two)', 'so of the others');

# ---------- at random, on all nodes at once ----------

for my $round (1 .. 3)
{
	my @jobs;
	for my $i (@nodes)
	{
		my $sql = '';
		for my $n (1 .. 60)
		{
			my ($room, $from, $len) = (1 + int(rand(3)), int(rand(40)), 1 + int(rand(6)));
			my $range = sprintf '[%d,%d)', $from, $from + $len;
			my $which = "room = $room AND during && '$range'";
			my @writes = ("INSERT INTO booking VALUES ($room, '$range', 'node$i round$round $n')", "UPDATE booking SET v = v || ' $i.$n' WHERE $which",
				"UPDATE booking SET during = '$range' WHERE ctid = (SELECT ctid FROM booking WHERE $which LIMIT 1)", "DELETE FROM booking WHERE ctid = (SELECT ctid FROM booking WHERE $which LIMIT 1)");
			my $write = $writes[ (0, 0, 0, 0, 1, 2, 2, 3)[ int(rand(8)) ] ];
			$sql .= "DO \$\$ BEGIN $write; EXCEPTION WHEN exclusion_violation OR deadlock_detected OR serialization_failure THEN NULL; END \$\$;\n";
		}
		push @jobs, $mesh->start_sql($i, $sql);
	}
	is(CORE::join('', map { ($mesh->finish_sql($_))[1] } @jobs), '', "round $round: writes on all nodes");
	$mesh->wait_converged;
}
$mesh->wait_identical(['booking'], 60, @nodes);
my %parked = map { state_of($_, 'booking') => 1 } @nodes;
for (1 .. 300)
{
	last if keys %parked == 1;
	select undef, undef, undef, 0.1;
	%parked = map { state_of($_, 'booking') => 1 } @nodes;
}
is(scalar keys %parked, 1, 'after random writes: the same shown and parked on all nodes') or diag(CORE::join("\n", keys %parked));
cmp_ok($mesh->sql(1, 'SELECT count(*) FROM booking'), '>', 5, 'there are rows');
$mesh->sql(1, 'DELETE FROM booking') for 1;
for (1 .. 300)
{
	$mesh->wait_converged;
	last if $mesh->sql(1, "SELECT count(*) FROM replication_plugin.parked_rows WHERE \"table\" = 'booking'::regclass") eq '0';
	$mesh->sql(1, 'DELETE FROM booking');
}
is($mesh->sql(2, "SELECT count(*) FROM replication_plugin.parked_rows WHERE \"table\" = 'booking'::regclass"), 0, 'what was parked comes back until all is deleted');
$mesh->is_identical('at the end', @nodes);
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.links WHERE last_error IS NOT NULL AND state <> 'streaming'"), 0, "node $_: no link has stopped") for @nodes;
done_testing();
