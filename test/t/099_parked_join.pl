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
done_testing();
