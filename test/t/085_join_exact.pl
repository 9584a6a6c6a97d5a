# A node joins while conflicts are in flight: writes of one member have not reached the one it copies from,
# and both have written the same rows. Later it has what all have. Then ROUNDS times at random
# moments under load, with any member as the source.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 3;
# a link that is held stays held: nothing is asked for on other ways
my $mesh = Mesh->new(4, conf => "replication_plugin.reroute_timeout = 1h\nreplication_plugin.frontier_interval = 100ms\n");
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text, n int NOT NULL DEFAULT 0, big text);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, 'first', 0, repeat('first ', 600) FROM generate_series(1, 400) g;
CREATE TABLE log (side int, v text); -- no key
CREATE TABLE whole (id int, v text);
ALTER TABLE whole REPLICA IDENTITY FULL;
INSERT INTO whole SELECT g, 'first' FROM generate_series(1, 10) g;
CREATE TABLE own (id int PRIMARY KEY, v text);
SELECT replication_plugin.exclude_table('own');
SQL
$mesh->join($_) for 2, 3;
$mesh->wait_for_streaming(1 .. 3);

# Joins node 4 through a member; does not wait.
sub start_join { $mesh->start_join(4, $_[0]); }

# Waits for node 4's state.
sub state_is
{
	my ($like, $seconds) = @_;
	return $mesh->poll(4, "SELECT state || coalesce(' ' || progress, '') ~ '$like' FROM replication_plugin.nodes WHERE is_local", 't', $seconds);
}

sub rows
{
	my ($i, $where) = @_;
	return $mesh->sql($i, "SELECT coalesce(string_agg(id || '=' || v, ' ' ORDER BY id), '') FROM t WHERE $where");
}

# ---------- a member that is down ----------
$mesh->kill_server(3);
my ($status, undef, $err) = $mesh->try_sql(4, sprintf("SELECT replication_plugin.join_group('node4', '%s', '%s')", $mesh->dsn(4), $mesh->dsn(1)));
ok($status != 0 && $err =~ /member "node3" cannot be reached/, 'a member that is down: the join is refused with its name') or diag($err);
is($mesh->sql(4, 'SELECT count(*) FROM replication_plugin.local_node'), 0, 'and nothing is left of it');
$mesh->start_server(3);
$mesh->wait_for_streaming(1 .. 3);

# ---------- the conflicts, one by one; the source is A, or the one that lacks nothing, or B ----------

# A and B write what the other does not see; node 3 sees all. "old" and "new": by the clock.
sub write_apart
{
	my ($A, $B, $mark) = @_;
	$mesh->sql($B, <<'SQL' . "INSERT INTO log VALUES (2, '$mark')");
UPDATE t SET v = 'B old' WHERE id IN (1, 3, 9, 11, 12);
DELETE FROM t WHERE id IN (5, 13);
INSERT INTO t VALUES (501, 'B old');
UPDATE t SET id = 507, v = 'B old' WHERE id = 7;
UPDATE t SET n = n + 1 WHERE id = 14; -- big is not in its WAL
UPDATE whole SET v = 'B' WHERE id = 1;
DELETE FROM whole WHERE id = 2;
SQL
	$mesh->sql($A, <<'SQL' . "INSERT INTO log VALUES (1, '$mark')");
UPDATE t SET v = 'A new' WHERE id IN (1, 7, 5);
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (501, 'A new');
UPDATE t SET v = 'A old', big = repeat('A old ', 600) WHERE id IN (2, 6, 8, 15);
DELETE FROM t WHERE id = 4;
INSERT INTO t VALUES (502, 'A old');
UPDATE t SET big = repeat('A new ', 600) WHERE id = 14;
UPDATE whole SET v = 'A' WHERE id = 3;
SQL
	$mesh->sql($B, <<'SQL');
UPDATE t SET v = 'B new' WHERE id IN (2, 4);
DELETE FROM t WHERE id = 6;
INSERT INTO t VALUES (502, 'B new');
UPDATE t SET v = 'B new' WHERE id = 8; -- with the big of its own old row
UPDATE t SET id = 515, v = 'B new' WHERE id = 15;
SQL
}

# More of it, after the new node has copied the rows.
sub write_during
{
	my ($A, $B) = @_;
	$mesh->sql($A, "UPDATE t SET v = 'A during' WHERE id IN (9, 10, 13, 16); DELETE FROM t WHERE id IN (11, 17)");
	$mesh->sql($B, "UPDATE t SET v = 'B during' WHERE id IN (10, 17, 18); DELETE FROM t WHERE id = 16; INSERT INTO t VALUES (503, 'B during')");
	$mesh->sql($A, "UPDATE t SET v = 'A last' WHERE id IN (12, 18); INSERT INTO t VALUES (503, 'A last')");
}

my $outcome = '1=A new 2=B new 4=B new 5=A new 7=A new 8=B new 9=A during 10=B during 12=A last 13=A during 14=first 17=B during 18=A last'
	. ' 501=A new 502=B new 503=A last 507=B old 515=B new';

for my $case ([ 'from the one that lacks writes', 1, 2, 1 ], [ 'from the one whose writes are lacking', 3, 1, 1 ], [ 'from a third', 2, 3, 1 ])
{
	my ($name, $A, $B, $source) = @$case;
	$mesh->sql(1, 'DELETE FROM t WHERE id > 400; UPDATE whole SET v = $$first$$;'
		. " INSERT INTO t SELECT g, 'first', 0, repeat('first ', 600) FROM generate_series(1, 20) g"
		. " ON CONFLICT (id) DO UPDATE SET v = 'first', n = 0, big = excluded.big");
	$mesh->wait_converged(1 .. 3);
	$mesh->pause($A, $B);
	$mesh->pause($B, $A);
	write_apart($A, $B, $name);
	# the source has what can reach it
	if ($source != $A && $source != $B)
	{
		$mesh->poll($source, "SELECT count(*) FROM log WHERE v = '$name'", 2) or die;
	}
	start_join($source);
	ok(state_is('^joining: catching up .*(node2|node3)'), "$name: the new node waits for members to know of it");
	is($mesh->sql(4, "SELECT count(*) > 390 FROM t"), 't', "$name: it has copied rows, and can be read");
	$mesh->writes_refused(4, 't', 'joining', "$name: local writes are refused until it is ready");
	is(($mesh->try_sql(4, 'INSERT INTO own VALUES (1)'))[0], 0, "$name: but not those to a table that is not replicated") if $source == $A;
	write_during($A, $B);
	$mesh->sql(4, 'SELECT 1'); # it is still up
	ok(state_is('^joining: catching up', 1), "$name: it is not ready before");
	is($mesh->sql(4, "SELECT string_agg(provider, ' ') FROM replication_plugin.links"), "node$source", "$name: it takes changes from its source only");
	$mesh->resume($A, $B);
	$mesh->resume($B, $A);
	is($mesh->sql(4, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', "$name: then it gets ready");
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	is(rows(4, "v <> 'first' OR id = 14"), $outcome, "$name: it has decided as all do");
	is($mesh->sql(4, "SELECT string_agg(substr(big, 1, 6), ' ' ORDER BY id) FROM t WHERE id IN (8, 14)"), 'first  A new ', "$name: rows came whole");
	is($mesh->sql(4, "SELECT string_agg(side::text, ' ' ORDER BY side) FROM log WHERE v = '$name'"), '1 2', "$name: nothing twice, nothing missing");
	$mesh->is_identical($name);
	# from now on it decides by itself: against its writes, too
	$mesh->pause(4, $B);
	$mesh->sql(4, "UPDATE t SET v = 'C old' WHERE id = 1");
	$mesh->sql($B, "UPDATE t SET v = 'B new' WHERE id IN (1, 2)");
	$mesh->sql(4, "UPDATE t SET v = 'C new' WHERE id = 2; DELETE FROM t WHERE id = 4");
	$mesh->resume(4, $B);
	$mesh->wait_converged;
	is(rows(4, 'id IN (1, 2, 4)'), '1=B new 2=C new', "$name: and decides later conflicts itself");
	$mesh->is_identical("$name: its own conflicts");
	$mesh->fresh_database(4);
}

# ---------- a link that begins before what all have by now ----------

# C takes A's writes from B; A writes over a row of which it has not seen B's last state, which all have later. When C then
# gets a link from A, the values that A's update left out are not those of that state.
{
	my $topology = sub {
		my ($shape, $nodes, $links) = @_;
		$mesh->sql(1, "SELECT replication_plugin.set_topology('$shape'$nodes)");
		$mesh->poll($_, "SELECT count(*) || ' ' || bool_and(state IN ('streaming', 'paused')) FROM replication_plugin.links", $links->{$_} . ' true') or die for 1 .. 3;
	};
	$topology->('star', ", '{node2,node1,node3}'", { 1 => 1, 2 => 2, 3 => 1 });
	my ($id, $moved) = (19);
	# The group slot of A rests for ten times this long, so that it moves when A's write is there. On a slow machine it may move before
	# all have B's write, and then not again: once more, with more time.
	for my $ms (400, 1600, 6400)
	{
		$id++;
		$mesh->sql(1, "UPDATE t SET v = 'first', big = repeat('first ', 600) WHERE id = $id");
		$mesh->wait_converged(1 .. 3);
		$mesh->sql(1, $_) for "ALTER SYSTEM SET replication_plugin.frontier_interval = '${ms}ms'", 'SELECT pg_reload_conf()';
		$mesh->sql(1, 'INSERT INTO log VALUES (1, $$tick$$)');
		$mesh->wait_converged(1 .. 3);
		$mesh->pause(1, 2);
		$mesh->pause(2, 1);
		$mesh->sql(2, "UPDATE t SET big = repeat('B old ', 600) WHERE id = $id");
		$moved = "SELECT replication_plugin.frontier_lsn(slot_vector, 2) >= '" . $mesh->sql(2, 'SELECT pg_current_wal_lsn()') . "' FROM replication_plugin.stable_point";
		$mesh->sql(1, "UPDATE t SET v = 'A new' WHERE id = $id");
		$mesh->poll(3, "SELECT big LIKE 'B old%' FROM t WHERE id = $id") or die;
		$mesh->resume(1, 2);
		my $until = time() + $ms / 100 + 10;
		while (time() < $until && $mesh->sql(1, $moved) ne 't')
		{
			$mesh->sql(2, "INSERT INTO log VALUES (2, 'tick')");
			$mesh->sql(3, "INSERT INTO log VALUES (3, 'tick')");
			sleep 0.05;
		}
		last if $mesh->sql(1, $moved) eq 't' || $ms == 6400;
		$mesh->resume(2, 1);
		$mesh->wait_converged(1 .. 3);
	}
	is($mesh->sql(1, $moved), 't', "new link: A's group slot is there when all have B's write");
	is($mesh->sql(3, "SELECT v FROM t WHERE id = $id"), 'first', "new link: A's write is on A alone");
	$mesh->sql(3, "SELECT replication_plugin.set_topology('all_to_all')");
	ok($mesh->poll(3, "SELECT v FROM t WHERE id = $id", 'A new'), 'new link: C has it from A');
	$mesh->resume(2, 1);
	$mesh->sql(1, $_) for 'ALTER SYSTEM RESET replication_plugin.frontier_interval', 'SELECT pg_reload_conf()';
	$mesh->wait_for_streaming(1 .. 3);
	$mesh->wait_converged(1 .. 3);
	is($mesh->sql(3, "SELECT substr(big, 1, 6) FROM t WHERE id = $id"), 'first ', 'new link: the row came whole');
	$mesh->is_identical('new link', 1 .. 3);
}

# ---------- at random moments ----------
my $script = <<'SQL';
\set id random(1, 299)
\set r random(1, 100)
\if :r <= 50
UPDATE t SET n = n + 1, v = 'n' || :side WHERE id = :id;
\elif :r <= 65
INSERT INTO t VALUES (:id, 'i' || :side, :r, repeat(md5(:id::text), 100)) ON CONFLICT DO NOTHING;
\elif :r <= 80
DELETE FROM t WHERE id = :id;
\elif :r <= 90
UPDATE t SET big = repeat(md5(random()::text), 100) WHERE id = :id;
\else
BEGIN;
INSERT INTO log VALUES (:side, 'l');
UPDATE t SET v = 'b' || :side WHERE id IN (:id, 301 - :id);
COMMIT;
\endif
SQL

# Conflicts in flight beside the load, in rows of their own.
sub race
{
	my ($A, $B, $base, $n) = @_;
	$mesh->sql($B, "UPDATE t SET v = 'B old' WHERE id = $base + 1; DELETE FROM t WHERE id = $base + 2; UPDATE t SET v = 'B old' WHERE id = $base + 3");
	$mesh->sql($A, "UPDATE t SET v = 'A new' WHERE id IN ($base + 1, $base + 2); DELETE FROM t WHERE id = $base + 3;"
		. " UPDATE t SET v = 'A old' WHERE id IN ($base + 4, $base + 5)");
	$mesh->sql($B, "UPDATE t SET v = 'B new' WHERE id = $base + 4; DELETE FROM t WHERE id = $base + 5");
}

for my $round (1 .. $rounds)
{
	$mesh->sql(1, "INSERT INTO t SELECT g, 'first' FROM generate_series(301, 400) g ON CONFLICT (id) DO UPDATE SET v = 'first'");
	$mesh->wait_converged(1 .. 3);
	my @load = $mesh->start_load($script, 100, 1 .. 3);
	my $source = 1 + int rand 3;
	# the source lacks a member's writes, or some other member does
	my $A = rand() < 0.7 ? $source : 1 + int rand 3;
	my $B = 1 + ($A + int rand 2) % 3;
	my $moment = ('at once', 'joining: schema', 'joining: copy', 'joining: catching up', 'joining: catching up')[ int rand 5 ];
	my $both = rand() < 0.5;
	note("round $round: source node$source, node$A does not hear node$B" . ($both ? ', nor the other way' : '') . ", until $moment");
	$mesh->pause($A, $B);
	$mesh->pause($B, $A) if $both;
	sleep rand 0.5;
	race($A, $B, 300);
	start_join($source);
	race($A, $B, 310);
	# a state may pass unseen
	$mesh->poll(4, "SELECT state >= '$moment' OR state = 'ready' OR state ~ 'catching' FROM replication_plugin.local_node") if $moment ne 'at once';
	sleep rand 0.5;
	race($A, $B, 320);
	$mesh->resume($A, $B);
	$mesh->resume($B, $A) if $both;
	is($mesh->sql(4, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', "round $round: ready");
	sleep rand 0.3;
	$mesh->stop_load(@load);
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	is(rows(4, "id BETWEEN 301 AND 325 AND v <> 'first'"),
		join(' ', map { ($_ + 1) . '=A new', ($_ + 2) . '=A new', ($_ + 4) . '=B new' } 300, 310, 320),
		"round $round: the newer writes have won") or diag("source node$source, A node$A, B node$B, both $both, $moment");
	$mesh->is_identical("round $round of $rounds: join from node $source");
	$mesh->fresh_database(4) if $round < $rounds;
}
done_testing();
