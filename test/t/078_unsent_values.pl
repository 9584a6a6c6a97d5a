# Large values that an update left alone are not in the WAL. A row shows one write, with these values too: never a mix of two, also when the
# provider has overwritten them before it is asked for them.
#
# Each large value begins with a tag that a small column has as well; so a mix shows.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $seconds = $ENV{SECONDS_OF_LOAD} || 30;
my $mesh = Mesh->new(3, conf => "max_prepared_transactions = 5\n");
my $helpers = <<'SQL';
CREATE FUNCTION big(tag text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT tag || ':' || repeat(md5(tag), 100) $$;
SQL
my $schema = CORE::join '', map { <<"SQL" } qw(doc busy);
CREATE TABLE $_ (id int PRIMARY KEY, n int NOT NULL, a_tag text, a text, b_tag text, b text);
ALTER TABLE $_ ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
SQL
$mesh->make_group($schema . "ALTER TABLE busy ADD place int UNIQUE; CREATE TABLE gate (id int PRIMARY KEY); CREATE TABLE marker (id int PRIMARY KEY);
	CREATE TABLE part (id int, n int, a_tag text, a text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200);
	ALTER TABLE part1 ALTER a SET STORAGE EXTERNAL; ALTER TABLE part2 ALTER a SET STORAGE EXTERNAL;");
$mesh->all_sql($helpers);

my $mixed = sub { my ($t) = @_; "SELECT count(*) FROM $t WHERE a NOT LIKE a_tag || ':%' OR b NOT LIKE b_tag || ':%' OR a <> big(a_tag) OR b <> big(b_tag)" };
my $row = "SELECT n || ' ' || left(a, strpos(a, ':') - 1) || ' ' || left(b, strpos(b, ':') - 1) FROM doc WHERE id = %d";

# Transactions that write to gate wait on that node, from now on; and go on.
sub close_gate { my ($i) = @_; $mesh->sql($i, "BEGIN; LOCK TABLE gate IN SHARE MODE; PREPARE TRANSACTION 'gate'"); }
sub open_gate { my ($i) = @_; $mesh->sql($i, "COMMIT PREPARED 'gate'"); }

# True on a node when it has the transaction with that marker.
sub has { my ($i, $marker) = @_; $mesh->poll($i, "SELECT EXISTS (SELECT FROM marker WHERE id = $marker)") or die "node $i lacks $marker"; }

sub awaited { return $mesh->sql($_[0], "SELECT count(*) FROM replication_plugin.awaited_state"); }

# ---------- a transaction that asks for a value, and has to be applied once more ----------

$mesh->sql(1, "INSERT INTO doc SELECT 9999, 0, 'a0', big('a0'), 'b0', big('b0')");
$mesh->wait_converged;
$mesh->pause_all;
$mesh->sql(2, 'BEGIN; UPDATE doc SET n = 2 WHERE id = 9999; INSERT INTO marker VALUES (9999); COMMIT');
$mesh->sql(1, 'BEGIN; UPDATE doc SET n = 1 WHERE id = 9999; INSERT INTO marker VALUES (9999); COMMIT');
$mesh->resume_all;
is($mesh->sql($_, 'SELECT n FROM doc WHERE id = 9999'), 1, "node $_ has it") for 1 .. 3;
$mesh->is_identical('applied once more');

# ---------- the provider has overwritten the value, and the row is updated where the newer state is not yet ----------

# How node 1 goes on after the update that left a and b alone; what node 2's row shows meanwhile; who writes then, and what all show in the end.
my $id = 0;
for my $case (
	[ 'the value is overwritten', "UPDATE doc SET a_tag = 'later', a = big('later') WHERE id = %d", '2 local b0', 2, '100 local b0' ],
	[ 'the value is overwritten, somebody else has the update', "UPDATE doc SET a_tag = 'later', a = big('later') WHERE id = %d", '2 local b0', 3, '100 a0 b0' ],
	[ 'the row is deleted', 'DELETE FROM doc WHERE id = %d', '2 local b0', 2, '100 local b0' ],
	[ 'the row is deleted, somebody else has the update', 'DELETE FROM doc WHERE id = %d', '2 local b0', 3, '100 a0 b0' ],
	[ 'the row is deleted, and another one takes its key', 'DELETE FROM doc WHERE id = %1$d; UPDATE doc SET id = %1$d WHERE id = %1$d + 1000', '2 local b0', 2, '100 local b0' ],
	[ 'other columns are overwritten', 'UPDATE doc SET n = 50 WHERE id = %d', '1 a0 b0', 2, '100 a0 b0' ])
{
	my ($name, $later, $meanwhile, $writer, $end) = @$case;
	my $passed_over = $meanwhile =~ /local/ ? 1 : 0;
	my $reader = 5 - $writer;
	$id++;
	$mesh->sql(1, "INSERT INTO doc SELECT g, 0, 'a0', big('a0'), 'b0', big('b0') FROM (VALUES ($id), ($id + 1000)) x(g)");
	$mesh->wait_converged;
	$mesh->pause_all;
	$mesh->sql(2, "BEGIN; UPDATE doc SET n = 2, a_tag = 'local', a = big('local') WHERE id = $id; INSERT INTO marker VALUES (2000 + $id); COMMIT");
	$mesh->sql(1, "BEGIN; UPDATE doc SET n = 1 WHERE id = $id; INSERT INTO marker VALUES ($id); COMMIT");

	# node 3 has node 1's update, and will get nothing more from there
	$mesh->resume(3, 1);
	has(3, $id);
	close_gate($_) for 2, 3;
	$mesh->sql(1, "BEGIN; INSERT INTO gate VALUES ($id); " . sprintf($later, $id) . '; COMMIT');

	# node 2 gets the update when node 1 has something else
	$mesh->resume(2, 1);
	has(2, $id);
	is($mesh->sql(2, sprintf $row, $id), $meanwhile, "$name: the row is whole");
	is(awaited(2), $passed_over, $passed_over ? 'the update is passed over' : 'the value is still the one of the update');

	# node 2 writes over that, and node 3 hears of it before it hears more from node 1; or the other way round, and with all that was seen
	if ($writer == 3)
	{
		$mesh->resume(3, 2);
		has(3, 2000 + $id);
	}
	$mesh->sql($writer, "BEGIN; UPDATE doc SET n = 100 WHERE id = $id; INSERT INTO marker VALUES (1000 + $id); COMMIT");
	$mesh->resume($reader, $writer);
	has($reader, 1000 + $id);
	is($mesh->sql($reader, sprintf $row, $id), $end, 'another node takes the values from where the row was updated');
	open_gate($_) for 2, 3;
	$mesh->resume_all;
	is($mesh->sql(2, sprintf $row, $id), $end, 'the last update wins');
	$mesh->is_identical($name);
	$mesh->poll($_, 'SELECT count(*) FROM replication_plugin.awaited_state', 0) or die 'what was awaited is not forgotten' for 1 .. 3;
}
pass('nothing is awaited any more');

# ---------- a partitioned table, in a star whose hub passes an update over ----------

$mesh->sql(2, "SELECT replication_plugin.set_topology('star', '{node2,node1,node3}')");
$mesh->wait_converged;
$mesh->poll(1, "SELECT count(*) = 1 FROM replication_plugin.links") or die 'no star';
$mesh->poll(3, "SELECT count(*) = 1 FROM replication_plugin.links") or die 'no star';
$mesh->wait_converged;
$mesh->sql(1, "INSERT INTO part SELECT 150, 0, 'a0', big('a0')");
$mesh->wait_converged;
$mesh->pause(2, 1);
$mesh->pause(1, 2);
$mesh->sql(2, "UPDATE part SET n = 2, a_tag = 'local', a = big('local') WHERE id = 150");
$mesh->sql(1, "BEGIN; UPDATE part SET n = 1 WHERE id = 150; INSERT INTO marker VALUES (5000); COMMIT");
close_gate(2);
$mesh->sql(1, "BEGIN; INSERT INTO gate VALUES (5000); UPDATE part SET a_tag = 'later', a = big('later') WHERE id = 150; COMMIT");
$mesh->resume(2, 1);
has(2, 5000);
has(3, 5000);
is(awaited(2), 1, 'the hub passes the update over');
is(awaited(3), 1, 'so does who gets it from there');
$mesh->sql(3, 'BEGIN; UPDATE part SET n = 100 WHERE id = 150; INSERT INTO marker VALUES (5001); COMMIT');
has(2, 5001);
$mesh->resume(1, 2);
has(1, 5001);
is($mesh->sql($_, "SELECT n || ' ' || a_tag FROM part WHERE id = 150 AND a = big(a_tag)"), '100 local', "node $_ shows the last update, whole") for 1 .. 3;
open_gate(2);
$mesh->wait_converged;
$mesh->is_identical('star');
$mesh->sql(2, "SELECT replication_plugin.set_topology('all_to_all')");
$mesh->poll($_, "SELECT count(*) = 2 AND bool_and(state = 'streaming') FROM replication_plugin.links") or die 'no mesh' for 1 .. 3;
$mesh->wait_converged;

# ---------- at random ----------

# Rows are updated, deleted, made anew and given other keys, on all nodes at once, for a while with links that lag behind.
my $script = <<'SQL';
\set id random(1, 8)
\set other random(1, 8)
\set what random(1, 12)
\set tag random(1, 1000000000)
\if :what <= 5
UPDATE busy SET n = :tag WHERE id = :id;
\elif :what <= 7
UPDATE busy SET a_tag = 'a:side.' || :tag, a = big('a:side.' || :tag) WHERE id = :id;
\elif :what <= 9
UPDATE busy SET b_tag = 'b:side.' || :tag, b = big('b:side.' || :tag), n = n + 1 WHERE id = :id;
\elif :what <= 10
UPDATE busy SET id = :other, place = nullif(:other % 5, 0) WHERE id = :id AND NOT EXISTS (SELECT FROM busy WHERE id = :other);
\elif :what <= 11
DELETE FROM busy WHERE id = :id;
\else
INSERT INTO busy SELECT :id, 0, 'ai.' || :tag, big('ai.' || :tag), 'bi.' || :tag, big('bi.' || :tag) ON CONFLICT DO NOTHING;
\endif
SQL
my @figures = (0, 0);
my $until = time() + $seconds;
my $wrong = 0;
for (my $round = 0; time() < $until; $round++)
{
	my @load = $mesh->start_load($script, 150, 1 .. 3);
	for (1 .. 8)
	{
		my $i = 1 + int rand 3;
		my $from = 1 + ($i + int rand 2) % 3;
		my $held = rand() < 0.5;
		$mesh->sql($i, "SELECT replication_plugin.pause_link('node$from')") if $held;
		Time::HiRes::sleep(rand 0.3);
		$mesh->sql($i, "SELECT replication_plugin.resume_link('node$from')") if $held;
		my $mix = $mesh->sql($i, $mixed->('busy'));
		$wrong += $mix;
		$figures[0] += awaited($i);
	}
	$mesh->stop_load(@load);
	$mesh->wait_converged;
	$mesh->is_identical("round $round");
	$wrong += $mesh->sql(1, $mixed->('busy'));
	$figures[1]++;
}
is($wrong, 0, 'no row ever mixed two writes');
note("figures: $seconds s, $figures[1] rounds, updates passed over were seen $figures[0] times");
$mesh->poll($_, 'SELECT count(*) FROM replication_plugin.awaited_state', 0) or die 'what was awaited is not forgotten' for 1 .. 3;

done_testing();
