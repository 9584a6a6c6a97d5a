# Joining while both members are written to, each its own rows and both in the same tables:
# the new node ends identical, every time.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 20;
my $mesh = Mesh->new(3);
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
open my $fh, '>', $script or die;
print $fh <<'SQL';
\set id random(1, 2000)
BEGIN;
UPDATE own SET n = n + 1 WHERE id = :id * 2 + :side;
INSERT INTO log (side, v) VALUES (:side, :id);
DELETE FROM own WHERE id = :id * 2 + :side AND n > 5;
INSERT INTO own VALUES (:id * 2 + :side, 0, md5(:id::text)) ON CONFLICT (id) DO UPDATE SET v = own.v || 'u';
COMMIT;
SQL
close $fh;
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<'SQL');
CREATE TABLE own (id int PRIMARY KEY, n int, v text);
CREATE TABLE log (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), side int, v int);
INSERT INTO own SELECT g, 0, md5(g::text) FROM generate_series(2, 4001) g;
SQL
$mesh->join(2);
$mesh->wait_for_streaming(1, 2);

for my $round (1 .. $rounds)
{
	my @pids;
	for my $n (1, 2)
	{
		my $pid = fork() // die;
		if (!$pid)
		{
			open STDOUT, '>', '/dev/null';
			open STDERR, '>', '/dev/null';
			exec 'pgbench', '-n', '-h', $mesh->node($n)->host, '-p', $mesh->node($n)->port, '-U', $mesh->user, '-c', 2, '-T', 60,
				'-R', 300, '-D', 'side=' . ($n - 1), "--random-seed=" . ($seed + $round * 10 + $n), '-f', $script, 'app';
			die;
		}
		push @pids, $pid;
	}
	sleep rand 0.5;
	$mesh->join(3, 1 + $round % 2);
	sleep rand 0.3;
	kill 'INT', $_ for @pids;
	waitpid $_, 0 for @pids;
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	$mesh->is_identical("join $round of $rounds");
	last if $round == $rounds;
	# away with it, into a fresh database
	$mesh->fresh_database(3);
	$mesh->poll($_, "SELECT count(*) FROM replication_plugin.slots WHERE subscriber = 'node3'", 0) or die "the slot for node3 stays" for 1, 2;
}
is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.nodes WHERE node_name = 'node3'"), $rounds, 'numbers are not used again');
done_testing();
