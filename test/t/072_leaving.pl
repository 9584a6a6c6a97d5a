# Leaving and removal that are interrupted, prepared transactions, and members that are synchronous standbys of each other:
# nothing that was acknowledged is lost, and nothing hangs.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3, conf => "max_prepared_transactions = 5\n");
$mesh->make_group("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'first' FROM generate_series(1, 20) g");
$mesh->wait_converged;
my $state = 'SELECT state FROM replication_plugin.nodes WHERE is_local';

sub fails
{
	my ($i, $sql, $like, $name) = @_;
	my ($status, undef, $err) = $mesh->try_sql($i, $sql);
	ok($status != 0 && $err =~ $like, $name) or diag($err);
}

# ---------- interrupted: by a timeout, by the end of the session ----------
$mesh->pause($_, 1) for 2, 3;
$mesh->sql(1, "INSERT INTO t VALUES (101, 'unsent')");
fails(1, "SET statement_timeout = '1s'; SELECT replication_plugin.leave_group()", qr/statement timeout/, 'leaving: a timeout ends it');
is($mesh->sql(1, $state), 'ready', 'then it goes on as before');
$mesh->sql(1, "INSERT INTO t VALUES (102, 'unsent')");
for my $way ('cancelled', 'called again')
{
	my $leaver = $mesh->start_sql(1, 'SELECT replication_plugin.leave_group()');
	$mesh->poll(1, $state, 'leaving') or die;
	$mesh->sql(1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%leave_group%' AND pid <> pg_backend_pid()");
	$mesh->finish_sql($leaver);
	is($mesh->sql(1, $state), 'leaving', 'leaving: its session is killed');
	$mesh->writes_refused(1, 't', 'leaving', 'it takes no writes');
	if ($way eq 'cancelled')
	{
		$mesh->sql(1, 'SELECT replication_plugin.cancel_leave()');
		is($mesh->sql(1, $state), 'ready', 'until that is cancelled');
		next;
	}
	fails(1, "SELECT replication_plugin.leave_group('1 second')", qr/not all members have applied/, 'called again, it does not throw away what others lack');
	is($mesh->sql(1, $state), 'ready', 'and the node is there again');
}
$mesh->resume($_, 1) for 2, 3;
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql(2, "SELECT count(*) FROM t WHERE v = 'unsent'"), 2, 'what was unsent arrives');
$mesh->is_identical('after leaving was interrupted');

# ---------- writes that are let in again while another session takes the node out ----------
for my $case ([ 1, "remove_node('node3')" ], [ 3, 'leave_group()' ])
{
	my ($i, $command) = @$case;
	$mesh->pause(1, 3);
	my $open = $mesh->node(3)->background_psql('app');
	$open->query_safe("BEGIN; INSERT INTO t VALUES (110 + $i, 'open')");
	my $job = $mesh->start_sql($i, "SELECT replication_plugin.$command");
	$mesh->poll(3, $state, 'leaving') or die;
	$open->query_safe('COMMIT');
	$open->quit;
	$mesh->sql(3, "SELECT replication_plugin.cancel_leave(); INSERT INTO t VALUES (120 + $i, 'let in again')");
	$mesh->resume(1, 3);
	like((($mesh->finish_sql($job))[1]), qr/node "node3" has been told meanwhile to take writes again/, "$command: fails when the node takes writes again");
	is($mesh->sql(3, $state), 'ready', "$command: the node stays");
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	is($mesh->sql($_, "SELECT count(*) FROM t WHERE id IN (110 + $i, 120 + $i)"), 2, "$command: node $_ has what was written") for 1 .. 3;
}

# ---------- prepared transactions ----------
$mesh->sql(3, "BEGIN; INSERT INTO t VALUES (103, 'prepared'); PREPARE TRANSACTION 'p'");
fails(3, "SELECT replication_plugin.prepare_removal('1 second')", qr/prepared transaction 'p' on node "node3" is open/, 'a prepared transaction is waited for');
is($mesh->sql(3, $state), 'ready', 'and the node stays');
$mesh->sql(3, "COMMIT PREPARED 'p'");
$mesh->wait_converged;
is($mesh->sql(1, "SELECT v FROM t WHERE id = 103"), 'prepared', 'it arrives');
$mesh->sql(3, "BEGIN; INSERT INTO t VALUES (104, 'too late'); PREPARE TRANSACTION 'q'");
fails(1, "BEGIN; SELECT replication_plugin.remove_node('node3', lost => true)", qr/cannot run inside a transaction block/, 'remove_node() in a transaction is refused');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
$mesh->poll(3, $state, 'removed') or die;
fails(3, "COMMIT PREPARED 'q'", qr/not ready for writes: removed.*ROLLBACK PREPARED/s, 'nothing is committed that nobody would get');
fails(3, 'SELECT replication_plugin.rejoin()', qr/prepared transactions/, 'joining anew says what is in the way');
$mesh->sql(3, "ROLLBACK PREPARED 'q'");
$mesh->sql(3, 'SELECT replication_plugin.rejoin()');
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'then it joins');
$mesh->wait_for_streaming;

# ---------- members that are synchronous standbys of each other ----------
for my $i (1 .. 3)
{
	$mesh->sql($i, $_) for q(ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'), 'SELECT pg_reload_conf()';
}
for my $i (1, 2)
{
	$mesh->kill_server($i);
	$mesh->start_server($i);
}
$mesh->wait_for_streaming;
$mesh->sql($_, "INSERT INTO t VALUES (200 + $_, 'synchronous')") for 1 .. 3;
$mesh->wait_converged;
$mesh->is_identical('synchronous');
done_testing();
