# What a new member, also one made of a physical copy, gets of tables with siblings and contested keys while they are written.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep time);

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE stall (id int PRIMARY KEY);
CREATE TABLE handle (id int PRIMARY KEY, name text UNIQUE, body text);
CREATE TABLE users (id int PRIMARY KEY, name text UNIQUE, body text);
SQL
sub rows { my ($i, $t) = @_; return $mesh->sql($i, "SELECT coalesce(string_agg(x::text, ' ' ORDER BY x::text), '') FROM $t x"); }
sub concurrently { my (@w) = @_; $mesh->pause_all; $mesh->sql(@$_) for @w; $mesh->resume_all; }
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('handle', 'siblings')");
$mesh->sql(1, "INSERT INTO handle VALUES (1, 'x', 'old')");
$mesh->wait_converged;

# siblings that come after the snapshot
my $new = $mesh->add_server;
my $job = $mesh->start_sql(1, "BEGIN; LOCK TABLE stall; SELECT pg_sleep(12); COMMIT");
sleep 0.5;
$mesh->start_join($new, 1);
$mesh->poll($new, "SELECT state IN ('joining: schema', 'joining: copy') FROM replication_plugin.local_node", 't', 20) or die;
sleep 1;
$mesh->sql($_, 'SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links') for 1, 2;
sleep 1;
$mesh->sql(1, "UPDATE handle SET body = 'one' WHERE id = 1");
$mesh->sql(2, "UPDATE handle SET body = 'two' WHERE id = 1");
$mesh->sql($_, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links') for 1, 2;
ok($mesh->poll(1, "SELECT body FROM handle", 'two', 10), 'node 1 has both');
$mesh->finish_sql($job);
is($mesh->sql($new, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'ready');
$mesh->wait_converged;
sleep 1;
is(rows($new, 'handle'), rows(1, 'handle'), 'the new member shows the same siblings');
is($mesh->sql($new, q{SELECT string_agg("row" ->> 'body', ',') FROM replication_plugin.siblings('handle', '{"id": 1}')}),
	$mesh->sql(1, q{SELECT string_agg("row" ->> 'body', ',') FROM replication_plugin.siblings('handle', '{"id": 1}')}), 'the same siblings');

# a physical copy
eval {
	$mesh->sql(1, 'SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links');
	$mesh->poll(1, "SELECT bool_and(state = 'paused') FROM replication_plugin.links") or die;
	$mesh->sql(2, "INSERT INTO users VALUES (2, 'ann', 'older')");
	$mesh->sql(1, "INSERT INTO users VALUES (1, 'ann', 'newer')");
	CLONE();
	1;
} or fail("clone: $@");
sub CLONE
{
	my $i = $mesh->size + 1;
	# the copy's port is not known before it is made: the dsn is promised by name, as test 086 does
	require PostgreSQL::Test::Cluster;
	my $name = 'nclone';
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $dsn = sprintf('host=%s port=%d dbname=app user=%s', $node->host, $node->port, $mesh->user);
	$mesh->sql(1, "SELECT replication_plugin.prepare_base_backup('clone', '$dsn')");
	$mesh->node(1)->backup('clone');
	$node->init_from_backup($mesh->node(1), 'clone');
	$mesh->sql(1, 'SELECT replication_plugin.resume_link(provider) FROM replication_plugin.links');
	$node->start;
	push @{ $mesh->{nodes} }, $node;
	$mesh->sql($i, sprintf("SELECT replication_plugin.join_group('clone', '%s', '%s', copy_schema => false, copy_data => false)", $dsn, $mesh->dsn(1)));
	is($mesh->sql($i, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'the copy gets ready');
	$mesh->wait_converged;
	sleep 3;
	is(rows($i, 'users'), rows(2, 'users'), 'a physical copy shows the same row as the others');
}
done_testing();
