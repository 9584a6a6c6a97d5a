# What a new member, also one made of a physical copy, gets of tables with siblings and contested keys while they are written.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE stall (id int PRIMARY KEY);
CREATE TABLE handle (id int PRIMARY KEY, name text UNIQUE, body text);
CREATE TABLE users (id int PRIMARY KEY, name text UNIQUE, body text);
SQL
sub rows { my ($i, $t) = @_; return $mesh->sql($i, "SELECT coalesce(string_agg(x::text, ' ' ORDER BY x::text), '') FROM $t x"); }
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('handle', 'siblings')");
$mesh->sql(1, "INSERT INTO handle VALUES (1, 'x', 'old')");
$mesh->wait_converged;

# siblings that come after the snapshot
my $new = $mesh->add_server;
# the join has its snapshot, and cannot go on: somebody is about to make a table of that name
my $holder = $mesh->node($new)->background_psql('app');
my $pid = $holder->query_safe('SELECT pg_backend_pid()');
$holder->query_safe('BEGIN; CREATE TABLE stall (id int)');
$mesh->start_join($new, 1);
$mesh->poll($new, "SELECT count(*) > 0 FROM pg_stat_activity WHERE $pid = ANY (pg_blocking_pids(pid))") or die 'the join does not wait';
is($mesh->sql($new, 'SELECT state FROM replication_plugin.local_node'), 'joining: schema', 'a join that copies the schema');
$mesh->sql($_, 'SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links') for 1, 2;
$mesh->poll($_, "SELECT bool_and(state = 'paused') FROM replication_plugin.links") || die 'links do not pause' for 1, 2;
$mesh->sql(1, "UPDATE handle SET body = 'one' WHERE id = 1");
$mesh->sql(2, "UPDATE handle SET body = 'two' WHERE id = 1");
$mesh->sql($_, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links') for 1, 2;
ok($mesh->poll(1, "SELECT body FROM handle", 'two'), 'node 1 has both');
$holder->query_safe('ROLLBACK');
$holder->quit;
is($mesh->sql($new, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'ready');
$mesh->wait_converged;
is(rows($new, 'handle'), rows(1, 'handle'), 'the new member shows the same siblings');
is($mesh->sql($new, q{SELECT string_agg("row" ->> 'body', ',') FROM replication_plugin.siblings('handle', '{"id": 1}')}),
	$mesh->sql(1, q{SELECT string_agg("row" ->> 'body', ',') FROM replication_plugin.siblings('handle', '{"id": 1}')}), 'the same siblings');

# a physical copy: a row that its source wrote just before, and an older one in its place that comes later
$mesh->pause_all;
$mesh->sql(2, "INSERT INTO users VALUES (2, 'ann', 'older')");
$mesh->sql(1, "INSERT INTO users VALUES (1, 'ann', 'newer')");
my $copy = PostgreSQL::Test::Cluster->new('copy');
push @{ $mesh->{nodes} }, $copy;
my $i = $mesh->size;
my $dsn = $mesh->dsn($i);
$mesh->sql(1, "SELECT replication_plugin.prepare_base_backup('node$i', '$dsn')");
$mesh->node(1)->backup('copy', backup_options => ['-R']);
$copy->init_from_backup($mesh->node(1), 'copy');
$copy->start;
is($mesh->sql($i, 'SELECT pg_promote()'), 't', 'a copy is promoted');
$mesh->poll($i, "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local") or die;
$mesh->sql($i, sprintf("SELECT replication_plugin.join_group('node$i', '$dsn', '%s', copy_schema => false, copy_data => false)", $mesh->dsn(1)));
$mesh->sql($_, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links') for 1 .. 3;
is($mesh->sql($i, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'it gets ready');
$mesh->wait_converged;
is(rows($i, 'users'), '(1,ann,newer)', 'it shows the same row as the others');
is($mesh->sql($_, 'SELECT string_agg(row_key::text, \' \') FROM replication_plugin.parked_rows'), '{"id": 2}', "the older one is parked on node $_") for 1 .. $i;

# A member that joins when all others know of rows in each other's way has their versions, also of a row that came after the parked one and has met it
# nowhere yet: what comes later has it decide as the others do.
my %clash = (met => '(id int PRIMARY KEY, u text UNIQUE, w text UNIQUE)', merged => '(id int PRIMARY KEY, u text UNIQUE, w text UNIQUE)',
	parts => '(id int, u text, w text, p int, PRIMARY KEY (id, p), UNIQUE (u, p), UNIQUE (w, p)) PARTITION BY LIST (p)');
for my $i (1 .. 4)
{
	$mesh->sql($i, "CREATE TABLE $_ $clash{$_}") for sort keys %clash;
	$mesh->sql($i, 'CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)');
}
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('merged', 'siblings')");
$mesh->wait_converged(1 .. 4);
# What a node shows of a table, and has parked.
sub shown
{
	my ($i, $t) = @_;
	return rows($i, $t) . ' | ' . $mesh->sql($i, "SELECT coalesce(string_agg(row_key ->> 'id', ' ' ORDER BY row_key::text), '')
		FROM replication_plugin.parked_rows WHERE \"table\" = '$t'::regclass");
}
sub all_show
{
	my ($expected, $name, @at) = @_;
	for my $t (sort keys %clash)
	{
		my $want = $t eq 'parts' ? $expected =~ s/\)/,1)/gr : $expected;
		$mesh->all_look(sub { shown($_[0], $t) }, $want, "$name: table $t on nodes @at", @at);
	}
}
sub write_all
{
	my ($i, $values) = @_;
	$mesh->sql($i, "INSERT INTO $_ VALUES (" . ($_ eq 'parts' ? "$values, 1" : $values) . ')') for sort keys %clash;
}
# 1 is in the way of nobody but 2, which is parked because of 3, and older than both
$mesh->pause_all;
write_all(2, "2, 'c', 's'");
write_all(1, "1, 'a', 's'");
write_all(3, "3, 'c', 'z'");
$mesh->sql(1, "SELECT replication_plugin.resume_link('node3')");
$mesh->sql($_, "SELECT replication_plugin.resume_link('node2')") for 1, 3;
all_show("(1,a,s) (3,c,z) | 2", 'before', 1);
$mesh->resume_all;
all_show("(1,a,s) (3,c,z) | 2", 'before', 1 .. 4);
$mesh->wait_converged(1 .. 4);
ok($mesh->poll(1, "SELECT min(p.stable_xid::text::bigint) > max(x.xmin::text::bigint) FROM replication_plugin.stable_point p, (SELECT xmin FROM met UNION ALL SELECT xmin FROM merged UNION ALL SELECT xmin FROM parts) x"),
	'all members have them, so their versions are needed for nothing else');
$mesh->add_server;
$mesh->start_join(5, 1);
is($mesh->sql(5, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'a fifth node');
all_show("(1,a,s) (3,c,z) | 2", 'joined', 1 .. 5);
$mesh->sql(1, "DELETE FROM $_ WHERE id = 3") for sort keys %clash;
all_show("(1,a,s) | 2", 'what was in the way is gone, and another row still is', 1 .. 5);
$mesh->sql(1, "DELETE FROM $_ WHERE id = 1") for sort keys %clash;
all_show("(2,c,s) | ", 'then that, too', 1 .. 5);
$mesh->wait_converged;
$mesh->is_identical('in the end');
done_testing();
