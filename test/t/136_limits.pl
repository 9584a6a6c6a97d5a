# What has a limit: links of a server, connections of a session that waits, concurrent values of a row, the conflict log. Where it is
# reached that is said, everything else goes on, and nothing is spoilt.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 200ms\nreplication_plugin.conflict_log_rate = -1\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE wiki (id int PRIMARY KEY, v text);
SELECT replication_plugin.set_conflict_policy('wiki', 'siblings');
SQL
$mesh->wait_converged;

# ---------- connections of wait_for_apply() ----------
# node 2 has no link to node 3 in a star, so it must ask; node 3 gets nothing meanwhile
$mesh->sql(1, "SELECT replication_plugin.set_topology('star', '{node1,node2,node3}')");
$mesh->wait_for_links(Mesh::star_links(1, 2, 3));
$mesh->pause(3, 1);
$mesh->sql(2, "INSERT INTO t VALUES (1, 'x')");
my $sessions = "SELECT pg_stat_clear_snapshot(), sessions FROM pg_stat_database WHERE datname = 'app'";
sub sessions_of { return (split /\|/, $mesh->sql($_[0], $sessions))[1]; }
my @before = map { sessions_of($_) } 2, 3;
is($mesh->sql(2, "SELECT replication_plugin.wait_for_apply('6 seconds')"), 'f', 'wait_for_apply() has waited');
sleep 1;
my @opened = map { sessions_of($_) - shift @before } 2, 3;
cmp_ok($opened[0], '<', 30, "it has opened few connections here ($opened[0])");
cmp_ok($opened[1], '<', 30, "and few there ($opened[1])");
my $waiter = $mesh->start_sql(2, "SELECT replication_plugin.wait_for_apply('60 seconds')");
$mesh->poll(2, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%wait_for_apply%' AND pid <> pg_backend_pid()") or die;
$mesh->resume(3, 1);
is(($mesh->finish_sql($waiter))[0], "t\n", 'and it knows when the other one has it');
$mesh->sql(1, "SELECT replication_plugin.set_topology('all_to_all')");
$mesh->wait_for_streaming;

# ---------- who waits is woken ----------
# Without a wake-up each wait lasts until the next look, a second later.
my $waits = join '', map { "INSERT INTO t VALUES ($_, 'woken'); SELECT replication_plugin.wait_for_apply();" } 101 .. 140;
my $begin = time;
my ($answers, $complaint) = $mesh->finish_sql($mesh->start_sql(1, $waits));
is($answers, "t\n" x 40, 'forty writes are waited for') or diag($complaint);
cmp_ok(time - $begin, '<', 20, 'and who waits is woken when others have confirmed');
$mesh->wait_converged;

# ---------- what a client has read elsewhere ----------
$mesh->pause(3, 1);
$mesh->sql(1, "INSERT INTO wiki VALUES (7, 'read here')");
my $read = $mesh->sql(1, q{SELECT replication_plugin.causal_context('wiki', '{"id": 7}')});
sub wait_for_read { return sprintf q{SELECT replication_plugin.wait_for_context(%s, %s, %s, %s)}, map { defined ? "'$_'" : 'NULL' } @_; }
is($mesh->sql(1, wait_for_read('wiki', '{"id": 7}', $read, '0')), 't', 'a context is there where it was read');
is($mesh->sql(3, wait_for_read('wiki', '{"id": 7}', $read, '100 ms')), 'f', 'and not yet elsewhere');
for my $null ([ 'wiki', '{"id": 7}', $read, undef ], [ 'wiki', '{"id": 7}', undef, '1 s' ], [ undef, '{"id": 7}', $read, '1 s' ], [ 'wiki', undef, $read, '1 s' ])
{
	my ($status, undef, $err) = $mesh->try_sql(3, wait_for_read(@$null));
	ok($status != 0 && $err =~ /may (?:not )?be null/, 'no null') or diag($err);
}
$waiter = $mesh->start_sql(3, wait_for_read('wiki', '{"id": 7}', $read, '60 seconds'));
$mesh->poll(3, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%wait_for_context%' AND wait_event_type = 'Extension'") or die;
$mesh->resume(3, 1);
is(($mesh->finish_sql($waiter))[0], "t\n", 'who waits is told when it is there');
is($mesh->sql(3, 'SELECT v FROM wiki WHERE id = 7'), 'read here', 'and reads it');
$mesh->wait_for_streaming;

# ---------- concurrent values of a row ----------
$mesh->sql(1, "INSERT INTO wiki VALUES (1, 'first')");
$mesh->wait_converged;
my $context = $mesh->sql(1, q{SELECT replication_plugin.causal_context('wiki', '{"id": 1}')});
my $many = "SET replication_plugin.causal_context = '$context';\n" . join '', map { "UPDATE wiki SET v = 'value $_' WHERE id = 1;\n" } 1 .. 1000;
my (undef, $err) = $mesh->finish_sql($mesh->start_sql(1, $many));
is($err, '', 'a row can have many concurrent values');
my ($status, undef, $refused) = $mesh->try_sql(1, "SET replication_plugin.causal_context = '$context'; UPDATE wiki SET v = 'one more' WHERE id = 1");
ok($status != 0 && $refused =~ /row of table "wiki" has 1000 concurrent values.*HINT:/s, 'and no more, with what to do') or diag($refused);
$mesh->wait_converged;
is($mesh->sql($_, q{SELECT siblings FROM replication_plugin.unresolved}), 1000, "node $_ shows how many there are") for 1 .. 3;
# a limit of who writes, not of who applies: nodes would differ
$mesh->pause(2, 1, 3);
my $context2 = $mesh->sql(2, q{SELECT replication_plugin.causal_context('wiki', '{"id": 1}')});
$mesh->sql(1, q{UPDATE wiki SET v = 'all by one' WHERE id = 1});
is($mesh->sql(1, 'SELECT count(*) FROM replication_plugin.unresolved'), 0, 'a write without a context replaces them all');
$mesh->sql(2, q{UPDATE wiki SET v = 'all by another one' WHERE id = 1});
$mesh->resume(2, 1, 3);
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql($_, q{SELECT siblings FROM replication_plugin.unresolved}), 2, "node $_ has both") for 1 .. 3;
$mesh->is_identical('concurrent values');

# ---------- the conflict log ----------
for my $i (1, 2)
{
	$mesh->sql($i, "ALTER SYSTEM SET replication_plugin.conflict_log_size = '1MB'");
	$mesh->sql($i, 'SELECT pg_reload_conf()');
}
$mesh->sql(1, q{INSERT INTO t SELECT g, 'first' FROM generate_series(1001, 1400) g});
$mesh->wait_converged;
$mesh->pause(1, 2, 3);
$mesh->pause(2, 1, 3);
$mesh->sql($_, qq{UPDATE t SET v = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 200) WHERE t.id > 0) WHERE id BETWEEN 1001 AND 1400}) for 1, 2;
$mesh->resume(1, 2, 3);
$mesh->resume(2, 1, 3);
$mesh->wait_for_streaming;
$mesh->wait_converged;
my $size = 'SELECT coalesce(sum(pg_column_size(row_key) + pg_column_size(local_row) + pg_column_size(remote_row)), 0) FROM replication_plugin.conflict_log';
my ($i) = sort { $mesh->sql($b, $size) <=> $mesh->sql($a, $size) } 1, 2;
ok($mesh->poll($i, $size =~ s/SELECT (.*) FROM/SELECT $1 BETWEEN 300000 AND 1048576 FROM/r, 't', 120), 'the conflict log is not larger than its limit, and not empty');
is($mesh->sql($i, "SELECT max((row_key ->> 'id')::int) FROM replication_plugin.conflicts"), 1400, 'the newest rows stay');
isnt($mesh->sql($i, "SELECT min((row_key ->> 'id')::int) FROM replication_plugin.conflicts"), 1001, 'the oldest have gone');
is($mesh->sql($i, "SELECT sum(n) >= 400 FROM replication_plugin.conflict_count"), 't', 'they are counted all the same');
$mesh->is_identical('conflicts');

# ---------- worker processes ----------
my $few = $mesh->node(3);
for my $n (3, 5)
{
	$few->append_conf('postgresql.conf', "max_worker_processes = $n\n");
	my $from = -s $few->logfile;
	$few->restart;
	my $all = $n == 3 ? "last_error ~ 'no free background worker HINT: Raise max_worker_processes'" : "state = 'waiting for slot' AND last_error ~ 'waits for this node.s group worker'";
	ok($mesh->poll(3, "SELECT count(*) = 2 AND bool_and($all) FROM replication_plugin.links"), "$n worker processes: links say why they do not run") or diag($mesh->sql(3, 'SELECT * FROM replication_plugin.links'));
	ok($mesh->poll(3, "SELECT progress ~ 'no free background worker for .replication_plugin group.*HINT: Raise max_worker_processes' FROM replication_plugin.nodes WHERE is_local"), "$n worker processes: the node says why nothing goes on")
		or diag($mesh->sql(3, 'SELECT progress FROM replication_plugin.nodes'));
	my $told = () = PostgreSQL::Test::Utils::slurp_file($few->logfile, $from) =~ /no free background worker for "replication_plugin group/g;
	is($told, 1, "$n worker processes: the log says it once");
}
$few->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$few->restart;
ok($mesh->poll(3, "SELECT progress ~ 'no manager process of this database runs' FROM replication_plugin.nodes WHERE is_local"), 'no place for the manager itself: the node says so');
$few->append_conf('postgresql.conf', "max_worker_processes = 40\n");
$few->restart;
$mesh->wait_for_streaming;
$mesh->sql(3, "INSERT INTO t VALUES (3001, 'again')");
$mesh->wait_converged;
ok($mesh->poll(3, "SELECT progress IS NULL FROM replication_plugin.nodes WHERE is_local"), 'with enough of them all is well') or diag($mesh->sql(3, 'SELECT progress FROM replication_plugin.nodes'));

# ---------- links of a server ----------
# three databases of one server, with two links each
my $one = $mesh->add_server;
my $node = $mesh->node($one);
$mesh->sql($one, $_, 'postgres') for 'CREATE DATABASE app2', 'CREATE DATABASE app3';
$mesh->sql($one, 'CREATE EXTENSION replication_plugin', $_) for 'app2', 'app3';
$node->append_conf('postgresql.conf', "replication_plugin.max_links = 4\n");
$node->restart;
$mesh->sql($one, sprintf("SELECT replication_plugin.create_group('small', 'a', '%s'); CREATE TABLE s (id int PRIMARY KEY)", $mesh->dsn($one)));
$mesh->sql($one, sprintf("SELECT replication_plugin.join_group('b', '%s', '%s')", $mesh->dsn($one, 'app2'), $mesh->dsn($one)), 'app2');
is($mesh->sql($one, "SELECT replication_plugin.wait_until_ready('60 seconds')", 'app2'), 't', 'two databases have links');
$mesh->sql($one, sprintf("SELECT replication_plugin.join_group('c', '%s', '%s')", $mesh->dsn($one, 'app3'), $mesh->dsn($one)), 'app3');
# whoever comes last finds no place; it says so, and everything else of it goes on
my $told = 0;
my $deadline = time() + 60;
until ($told || time() > $deadline)
{
	$told = grep { ($mesh->try_sql($one, q{SELECT progress ~ 'links of this node cannot run: all 4 places .* HINT: .*max_links' FROM replication_plugin.nodes WHERE is_local}, $_))[1] eq 't' } 'app', 'app2', 'app3';
	select undef, undef, undef, 0.1;
}
ok($told, 'a node without a place for a link says so, with what to do');
my %pids = map { $_ => $mesh->sql($one, 'SELECT replication_plugin.manager_pid()', $_) } 'app', 'app2', 'app3';
sleep 3;
is($mesh->sql($one, 'SELECT replication_plugin.manager_pid()', $_), $pids{$_}, "the manager of $_ goes on") for sort keys %pids;
is($mesh->sql($one, "SELECT replication_plugin.wait_for_apply('100 ms') IS NOT NULL"), 't', 'other commands work');
$node->append_conf('postgresql.conf', "replication_plugin.max_links = 20\n");
$node->restart;
is($mesh->sql($one, "SELECT replication_plugin.wait_until_ready('60 seconds')", $_), 't', "with more places $_ is ready") for 'app2', 'app3';
ok($mesh->poll($one, "INSERT INTO s VALUES (1) ON CONFLICT DO NOTHING; SELECT replication_plugin.wait_for_apply('30 seconds')"), 'and changes travel');
done_testing();
