# PostgreSQL has places for the progress of a limited number of replication origins (max_active_replication_origins since 18, max_replication_slots
# before). A node that lacks them cannot apply what others write: it is refused when it joins, and where a member lacks them, the node that waits for that
# member says so, and goes on when there are more.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(4);
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
$mesh->join(2);
$mesh->wait_converged(1, 2);
my $setting = Mesh::has_setting('max_active_replication_origins') ? 'max_active_replication_origins' : 'max_replication_slots';
my $used = 'SELECT count(*) FROM pg_replication_origin_status';

# Takes places on a node until so many are free.
sub take_places
{
	my ($i, $free) = @_;
	my $n = $mesh->sql($i, "SELECT current_setting('$setting')::int - $free - ($used)");
	$mesh->sql($i, "SELECT pg_replication_origin_create('other' || g) FROM generate_series(1, $n) g; SELECT pg_replication_origin_advance('other' || g, '0/1') FROM generate_series(1, $n) g");
	is($mesh->sql($i, "SELECT current_setting('$setting')::int - ($used)"), $free, "node $i has $free places left");
}
sub preflight { return $mesh->sql($_[0], "SELECT ok || ' ' || detail || coalesce(' ' || fix, '') FROM replication_plugin.preflight() WHERE requirement = 'replication origins'"); }
sub refused
{
	my ($i, $expected, $what) = @_;
	my (undef, undef, $err) = $mesh->try_sql($i, sprintf("SELECT replication_plugin.join_group('node%d', '%s', '%s')", $i, $mesh->dsn($i), $mesh->dsn(1)));
	like($err, $expected, $what);
}

# the joining node has too few
take_places(4, 1);
like(preflight(4), qr/^false 1 free of 30 \($setting\) ALTER SYSTEM SET $setting = 20; restart$/, 'preflight() says so');
refused(4, qr/not ready for replication: replication origins: 1 free of 30 \($setting\).*HINT:.*ALTER SYSTEM SET $setting = 20; restart/s, 'it cannot join');
$mesh->sql(4, "SELECT pg_replication_origin_drop('other1')");
like(preflight(4), qr/^true 2 free of 30/, 'enough for a group of one');
refused(4, qr/not ready for replication: replication origins: 2 free of 30 \($setting\), and this group needs 3.*HINT:.*$setting/s, 'but not for this one');
is($mesh->sql(4, 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'nothing is left of it');

# another member has none left
take_places(2, 0);
like(preflight(2), qr/^true 0 free of 30/, 'a member needs no more than it has');
$mesh->start_join(3);
ok($mesh->poll(3, "SELECT progress ~ 'node \"node2\" cannot apply.*30 of 30 places are in use [(]${setting}[)], and there is none for: node3.*HINT.*ALTER SYSTEM SET $setting' FROM replication_plugin.nodes WHERE is_local", 't', 60),
	'the joining node names the member and the setting') or diag($mesh->sql(3, 'SELECT state, progress FROM replication_plugin.nodes'));
like(preflight(2), qr/^false 0 free of 30 \($setting\), none yet for node3 ALTER SYSTEM SET $setting/, 'so does preflight() on the member');
ok($mesh->poll(2, "SELECT bool_or(last_error ~ 'could not find free replication state') FROM replication_plugin.links", 't', 20), 'and its link')
	or diag($mesh->sql(2, 'SELECT provider, state, last_error FROM replication_plugin.links'), PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile));
my (undef, undef, $err) = $mesh->try_alone(3, "SELECT replication_plugin.wait_until_ready('1 second')");
like($err, qr/error, tried again: node "node2" cannot apply what other members write/, 'who waits is told');

# more places, and a restart
$mesh->node(2)->append_conf('postgresql.conf', "$setting = 40");
$mesh->node(2)->restart;
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'it goes on by itself');
$mesh->sql(3, "INSERT INTO t VALUES (3, 'by node 3')");
$mesh->sql(2, "INSERT INTO t VALUES (2, 'by node 2')");
$mesh->wait_converged(1, 2, 3);
$mesh->is_identical('in the end', 1, 2, 3);
is($mesh->sql(3, 'SELECT coalesce(last_error, \'none\') FROM replication_plugin.local_node'), 'none', 'no error is shown any more');
like(preflight(2), qr/^true /, 'nor by preflight()');
done_testing();
