# Fault points (src/base/fault_point.h): wherever something becomes durable or visible, a server is stopped, and then the whole group is
# looked at. Every point in the sources has a scenario here, and is reached by it; else this test fails.
use strict;
use warnings;
use File::Basename;
use Mesh;
use Test::More;

my $source = dirname(__FILE__) . '/../../src';
my @points = points($source);
my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 100ms\nreplication_plugin.table_patience = 1s\n");

# All points that the sources name.
sub points
{
	my ($dir) = @_;
	my %found;
	for my $file (glob("$dir/*.c $dir/*/*.c $dir/*/*/*.c"))
	{
		my $text = PostgreSQL::Test::Utils::slurp_file($file);
		$found{$1} = 1 while $text =~ /\bFAULT_POINT\("(\w+)"\)/g;
		if ($file =~ /fault_point\.c$/)
		{
			my ($list) = $text =~ /static const char \*const functions\[\] = \{(.*?)\};/s;
			$found{"after_$1"} = 1 while $list =~ /"(\w+)"/g;
		}
	}
	return sort keys %found;
}

unless (`nm "\$(pg_config --pkglibdir)/replication_plugin.so"` =~ /fault_point_reach/)
{
	plan skip_all => 'the library is built without fault points';
}

$mesh->sql(1, "SELECT replication_plugin.create_group('test', 'node1', '" . $mesh->dsn(1) . "')");
$mesh->sql(1, 'CREATE TABLE plain (id int PRIMARY KEY, v text);
	CREATE TABLE places (id int PRIMARY KEY, v text, place int UNIQUE);
	CREATE TABLE wiki (id int PRIMARY KEY, v text);
	CREATE TABLE likes (id int PRIMARY KEY, n int)');
$mesh->sql($_, 'CREATE ROLE clerk LOGIN') for 1 .. 3;
my $as = 'SET SESSION AUTHORIZATION clerk;'; # only tables of such roles can wait
$mesh->sql(1, "CREATE SCHEMA desk AUTHORIZATION clerk; $as CREATE TABLE desk.late (id int PRIMARY KEY, v text);
	CREATE FUNCTION desk.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'clerk' THEN RAISE 'no way'; END IF; RETURN new; END \$\$");
$mesh->join($_) for 2, 3;
$mesh->wait_for_streaming;
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings'), replication_plugin.set_column_merge('likes', 'n', 'counter')");
$mesh->sql(1, 'INSERT INTO likes VALUES (1, 0)'); # of inserts at the same time one counts
$mesh->wait_converged;
my $n = 0; # number of the round: each writes keys of its own
my $likes = 0; # acknowledged increments

sub armed_file { return $mesh->node($_[0])->data_dir . '/replication_plugin.fault_point'; }

# A point acts on a node, the next time that it is reached there.
sub arm
{
	my ($i, $point, $action) = @_;
	my $file = armed_file($i);
	open my $fh, '>', "$file.new" or die;
	print $fh "$point $action\n";
	close $fh;
	rename "$file.new", $file or die;
}

# Waits until it has acted.
sub was_reached
{
	my ($i) = @_;
	my $deadline = time() + 60;
	Time::HiRes::sleep(0.02) while -f armed_file($i) && time() < $deadline;
	my $reached = !-f armed_file($i);
	unlink armed_file($i);
	return $reached;
}

# SQL on a node whose server may crash under it: true if it was acknowledged.
sub attempt
{
	my ($i, $sql) = @_;
	my ($status) = $mesh->try_sql($i, $sql);
	return $status == 0;
}

# SQL that is repeated until it is acknowledged.
sub insist
{
	my ($i, $sql, $seconds) = @_;
	my $deadline = time() + ($seconds || 60);
	until (attempt($i, $sql))
	{
		die "node $i never does: $sql\n" . ($mesh->try_sql($i, $sql))[2] if time() > $deadline;
		Time::HiRes::sleep(0.1);
	}
}

# A round of everything that replication does: inserts, updates, deletes, conflicts, rows in each other's places, siblings,
# counters, TRUNCATE. What is acknowledged must be there at the end.
sub traffic
{
	my ($members) = @_;
	my @m = @{ $members || [ 1, 2, 3 ] };
	my $base = 100 * ++$n;
	my %there;
	for my $i (@m)
	{
		$there{ $base + $i } = 1 if attempt($i, "INSERT INTO plain VALUES ($base + $i, 'of $i')");
		$likes++ if attempt($i, "INSERT INTO likes VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = likes.n + 1");
	}
	insist($_, "SELECT replication_plugin.pause_link('node" . ($_ == $m[0] ? $m[1] : $m[0]) . "')") for $m[0], $m[1];
	# what arrives before the links rest makes no conflicts
	insist($_, "SELECT 1 / count(*) FROM replication_plugin.links WHERE state = 'paused' AND provider = 'node" . ($_ == $m[0] ? $m[1] : $m[0]) . "'")
		for $m[0], $m[1];
	for my $i ($m[0], $m[1])
	{
		attempt($i, "INSERT INTO plain VALUES ($base + 50, 'both $i') ON CONFLICT (id) DO UPDATE SET v = 'both $i'");
		attempt($i, "INSERT INTO wiki VALUES ($base, 'page of $i') ON CONFLICT (id) DO UPDATE SET v = 'page of $i'");
		attempt($i, "INSERT INTO places VALUES ($base + $i, 'of $i', $base)");
	}
	for my $i ($m[0], $m[1])
	{
		insist($i, "SELECT replication_plugin.resume_link('node" . ($i == $m[0] ? $m[1] : $m[0]) . "')");
	}
	attempt($m[1], "DELETE FROM plain WHERE id = $base + $m[0]") and delete $there{ $base + $m[0] };
	return %there;
}

# Rows that were parked come back, as those in their way go.
sub free_places
{
	my ($i) = @_;
	insist($i, 'DELETE FROM places WHERE id % 100 = (SELECT max(id % 100) FROM places)');
}

# After what a fault did: all members are equal and have what was acknowledged, and nothing is stuck.
sub check
{
	my ($what, $members, $there) = @_;
	$mesh->poll($_, 'SELECT 1', '1') or die for @$members;
	# a server that has crashed may still show the states of before
	$mesh->wait_for_streaming(@$members);
	free_places($members->[0]);
	$mesh->wait_converged(@$members);
	for my $i (@$members)
	{
		# what has its place free has come back
		$mesh->poll($i, q{SELECT count(*) FROM replication_plugin.parked_rows p WHERE NOT EXISTS (SELECT FROM places s WHERE s.place = (p."row" ->> 'place')::int)}, '0') or $mesh->dump_state;
	}
	$mesh->is_identical($what, @$members);
	for my $i (@$members)
	{
		my $missing = join ' ', grep { $mesh->sql($i, "SELECT count(*) FROM plain WHERE id = $_") ne '1' } sort keys %{ $there || {} };
		is($missing, '', "$what: node $i has all that was acknowledged");
	}
	my $counted = $mesh->sql($members->[0], 'SELECT coalesce(max(n), 0) FROM likes');
	cmp_ok($counted, '>=', $likes, "$what: no acknowledged increment is lost");
	$likes = $counted; # some were done and not acknowledged
}

# A fault on a node while everything goes on.
sub in_traffic
{
	my ($point, $i, $action) = @_;
	arm($i, $point, $action);
	my %there = traffic();
	if ($point =~ /unpark|parked_row_removed/)
	{
		# a place that is freed before the other row has come parks nothing
		$mesh->poll(1, 'SELECT EXISTS (SELECT FROM replication_plugin.parked_rows)', 't', 60) if -f armed_file($i);
		free_places(1);
	}
	ok(was_reached($i), "$point: reached, $action");
	check("$point $action on node $i", [ 1, 2, 3 ], \%there);
}

# A fault on a node while node 3 joins.
sub in_join
{
	my ($point, $i, $action) = @_;
	arm($i, $point, $action);
	insist(3, sprintf("SELECT CASE WHEN NOT EXISTS (SELECT FROM replication_plugin.local_node) THEN replication_plugin.join_group('node3', '%s', '%s') END",
			$mesh->dsn(3), $mesh->dsn(1)));
	ok(was_reached($i), "$point: reached, $action");
	my %there = traffic([ 1, 2 ]);
	$mesh->poll(3, 'SELECT 1', '1');
	$mesh->poll(3, "SELECT state FROM replication_plugin.local_node", 'ready', 120) or $mesh->dump_state;
	check("$point $action on node $i", [ 1, 2, 3 ], \%there);
}

# Node 3 goes, in order, with a fault on a node, and is ready to join again.
sub leave
{
	my ($point, $i, $action) = @_;
	arm($i, $point, $action) if $point;
	my $gone = 'SELECT NOT EXISTS (SELECT FROM replication_plugin.local_node)';
	my $deadline = time() + 60;
	until (eval { ($mesh->try_sql(3, $gone))[1] } eq 't' || time() > $deadline)
	{
		attempt(3, 'SELECT replication_plugin.leave_group()');
	}
	ok(was_reached($i), "$point: reached, $action") if $point;
	check("$point $action on node $i", [ 1, 2 ]) if $point;
	$mesh->poll($_, "SELECT count(*) FROM replication_plugin.nodes WHERE state <> 'removed'", '2') for 1, 2;
	recreate_tables();
}

# Node 3 is taken out by others, with a fault on a node, and starts anew.
sub removal
{
	my ($point, $i, $action) = @_;
	arm($i, $point, $action);
	$mesh->poll(1, "SELECT state = 'removed' FROM replication_plugin.nodes WHERE node_name = 'node3' ORDER BY node_id DESC LIMIT 1", 't', 1) or
		insist(1, "SELECT CASE WHEN EXISTS (SELECT FROM replication_plugin.nodes WHERE node_name = 'node3' AND state <> 'removed')
			THEN replication_plugin.remove_node('node3') END");
	ok(was_reached($i), "$point: reached, $action");
	$mesh->poll(3, "SELECT state FROM replication_plugin.local_node", 'removed');
	check("$point $action on node $i", [ 1, 2 ]);
	insist(3, 'SELECT replication_plugin.forget_group()');
	recreate_tables();
}

# Node 3 is taken for lost, comes back, learns that it is out, and starts anew.
sub expulsion
{
	my ($point, $i, $action) = @_;
	$mesh->node(3)->stop('immediate');
	insist(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
	check("$point, before node 3 is back", [ 1, 2 ]);
	arm($i, $point, $action);
	$mesh->start_server(3);
	ok(was_reached($i), "$point: reached, $action");
	$mesh->poll(3, "SELECT state FROM replication_plugin.local_node", 'removed');
	check("$point $action on node $i", [ 1, 2 ]);
	insist(3, 'SELECT replication_plugin.forget_group()');
	recreate_tables();
}

# Node 3's database is empty again.
sub recreate_tables
{
	insist(3, 'DROP TABLE IF EXISTS plain, places, wiki, likes; DROP SCHEMA IF EXISTS desk CASCADE');
}

# A table cannot be applied on a node, so its changes are kept there, and applied later: with a fault when it begins to wait, when something is
# kept, and when that is applied and the table waits no more.
sub in_wait
{
	my ($point, $i, $action) = @_;
	my $base = 100 * ++$n;
	my $begins = $point !~ /^kept_|_ended$/;
	insist($i, "$as CREATE OR REPLACE TRIGGER hinders BEFORE INSERT OR UPDATE ON desk.late FOR EACH ROW EXECUTE FUNCTION desk.fails(); ALTER TABLE desk.late ENABLE ALWAYS TRIGGER hinders");
	arm($i, $point, $action) if $begins;
	insist($_, "$as INSERT INTO desk.late SELECT g, 'of $_' FROM generate_series($base + 10 * $_, $base + 10 * $_ + 2) g") for 1, 3;
	insist(1, "$as BEGIN; UPDATE desk.late SET v = 'again' WHERE id = $base + 10; DELETE FROM desk.late WHERE id = $base + 11; COMMIT");
	ok(was_reached($i), "$point: reached, $action") if $begins;
	$mesh->poll($i, 'SELECT changes >= 8 FROM replication_plugin.waiting_tables', 't', 60) or $mesh->dump_state;
	arm($i, $point, $action) if !$begins;
	insist($i, "$as DROP TRIGGER IF EXISTS hinders ON desk.late");
	ok(was_reached($i), "$point: reached, $action") if !$begins;
	$mesh->poll($i, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 120) or $mesh->dump_state;
	check("$point $action on node $i", [ 1, 2, 3 ]);
	is($mesh->sql($i, "SELECT string_agg(id - $base || ' ' || v, ', ' ORDER BY id) FROM desk.late WHERE id > $base"),
		'10 again, 12 of 1, 30 of 3, 31 of 3, 32 of 3', "$point: each change of the table is there once");
}

# The scenario of each point: what happens, and on which node it strikes.
my %scenario = (
	(map { ($_ => [ \&in_traffic, 2 ]) } qw(apply_commit_before apply_commit_after delete_captured write_captured
		parked_row_stored conflict_logged frontier_row_committed group_slot_moves group_slot_moved position_confirmed
		after_write_frontier_row)),
	(map { ($_ => [ \&in_traffic, 1 ]) } qw(parked_row_removed unpark_commit_before unpark_commit_after)),
	(map { ($_ => [ \&in_join, 3 ]) } qw(join_slot_made join_admitted join_schema_copied join_rows_copied join_indexes_restored
		join_states_imported join_group_slot_made join_link_made join_caught_up join_progress_raised join_ready origin_created
		after_make_group_slot after_announce)),
	(map { ($_ => [ \&in_join, 1 ]) } qw(after_admit_node after_provide_slot)),
	(map { ($_ => [ \&leave, 3 ]) } qw(after_teardown after_drop_origins)),
	(map { ($_ => [ \&removal, 1 ]) } qw(after_remove_node origin_renamed)),
	(map { ($_ => [ \&in_wait, 2 ]) } qw(table_wait_begins table_wait_begun kept_commit_before kept_commit_after table_wait_ended)),
	after_prepare_removal => [ \&removal, 3 ],
	after_drop_slots_of_removed => [ \&removal, 2 ],
	after_note_expulsion => [ \&expulsion, 3 ],
	(map { ($_ => [ \&topology, 2 ]) } qw(after_store_topology)),
	(map { ($_ => [ \&clock_ahead, 2 ]) } qw(commit_stamp_before commit_stamp_after)),
);

# The shape of the group changes, with a fault on a node.
sub topology
{
	my ($point, $i, $action) = @_;
	arm($i, $point, $action);
	attempt($i, "SELECT replication_plugin.set_topology('ring')");
	ok(was_reached($i), "$point: reached, $action");
	$mesh->poll($i, 'SELECT 1', '1');
	insist($i, "SELECT replication_plugin.set_topology('all_to_all')");
	my %there = traffic();
	check("$point $action on node $i", [ 1, 2, 3 ], \%there);
}

# A commit gets the timestamp of the hybrid clock, as another node's clock is ahead of this one's.
sub clock_ahead
{
	my ($point, $i, $action) = @_;
	# for longer than anything takes until it writes
	insist($i, "SELECT replication_plugin.observe_clock(now() + '30 seconds')");
	arm($i, $point, $action);
	my %there = traffic();
	ok(was_reached($i), "$point: reached, $action");
	check("$point $action on node $i", [ 1, 2, 3 ], \%there);
}

my @only = split /,/, $ENV{POINTS} || '';
my $is_member = 1; # node 3
for my $point (sort { ($scenario{$a} ? $scenario{$a}[0] : 0) <=> ($scenario{$b} ? $scenario{$b}[0] : 0) || $a cmp $b } @points)
{
	next if @only && !grep { $_ eq $point } @only;
	my $s = $scenario{$point};
	ok($s, "$point has a scenario") or next;
	my ($run, $node) = @$s;
	my $wants_member = $run != \&in_join;
	if ($wants_member && !$is_member)
	{
		$mesh->join(3);
		$mesh->wait_for_streaming;
	}
	leave() if !$wants_member && $is_member;
	note("== $point on node $node");
	$run->($point, $node, 'crash');
	$is_member = !grep { $run == $_ } \&leave, \&removal, \&expulsion;
}
# An error there, which is no crash: the worker, or the session, does it again, or is told.
for my $point (grep { my $p = $_; !@only || grep { $_ eq $p } @only } qw(apply_commit_before parked_row_stored conflict_logged group_slot_moves position_confirmed unpark_commit_before))
{
	$mesh->join(3) if !$is_member;
	$is_member = 1;
	$scenario{$point}[0]->($point, $scenario{$point}[1], 'error');
}

# What is kept is kept by the transaction that it is of.
if (!@only)
{
	$mesh->join(3) if !$is_member;
	$is_member = 1;
	in_wait($_, 2, 'crash') for qw(apply_commit_before apply_commit_after);
	in_wait($_, 2, 'error') for qw(table_wait_begins kept_commit_before);
}

# A transaction that is held up after it was applied is not seen before its end, and is confirmed afterwards.
if (!@only)
{
	# no other one gets there: the link from node 3 rests, and that from node 1 is in the middle of this one when the point is armed
	$mesh->pause(2, 3);
	my $holder = $mesh->node(2)->background_psql('app');
	my $pid = $holder->query_safe('SELECT pg_backend_pid()');
	$holder->query_safe('BEGIN; LOCK TABLE plain IN SHARE MODE');
	$mesh->sql(1, "INSERT INTO plain VALUES (-1, 'waits')");
	$mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'replication_plugin link from node 1' AND $pid = ANY (pg_blocking_pids(pid))", 1) or die 'the row does not come';
	arm(2, 'apply_commit_before', 'wait');
	$holder->query_safe('COMMIT');
	$holder->quit;
	ok(was_reached(2), 'apply_commit_before: reached, wait');
	is($mesh->sql(2, 'SELECT count(*) FROM plain WHERE id = -1'), 0, 'what waits for its commit is not seen');
	PostgreSQL::Test::Utils::append_to_file($mesh->node(2)->data_dir . '/replication_plugin.fault_point_go', '');
	$mesh->resume(2, 3);
	check('apply_commit_before wait on node 2', [ 1, 2, 3 ]);
	is($mesh->sql(2, 'SELECT count(*) FROM plain WHERE id = -1'), 1, 'and seen afterwards');
}

# A node is removed while it joins: it says so, and what it advises works.
if (!@only)
{
	leave();
	arm(3, 'apply_commit_before', 'wait');
	$mesh->start_join(3);
	ok(was_reached(3), 'removed while it joins: its link has not brought its admission yet');
	$mesh->sql(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
	$mesh->sql(3, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%'");
	my $told = q{'node "node3" .* has been removed from the group.*HINT: .*replication_plugin.rejoin'};
	ok($mesh->poll(3, "SELECT progress ~ $told FROM replication_plugin.nodes WHERE is_local"), 'removed while it joins: the view nodes tells');
	is($mesh->sql(3, "SELECT last_error ~ $told FROM replication_plugin.links"), 't', 'removed while it joins: and the view links');
	is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('1 second')"), 'f', 'removed while it joins: it does not get ready');
	$mesh->sql(3, 'SELECT replication_plugin.rejoin()');
	is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'removed while it joins: it joins anew');
	check('removed while it joins', [ 1, 2, 3 ]);
}
is(join(" ", grep { my $p = $_; !grep { $p eq $_ } @points } sort keys %scenario), '', 'no scenario is for a point that is gone');
done_testing();
