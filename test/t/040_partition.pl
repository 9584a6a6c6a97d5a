# Nodes cut off from each other write inserts, updates and deletes on the same 1,000 rows,
# then are healed: identical. Two nodes, then three.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 2;
my $seconds = $ENV{SECONDS_OF_LOAD} || 15;
my $script = PostgreSQL::Test::Utils::tempdir() . '/mix.sql';
open my $fh, '>', $script or die;
print $fh <<'SQL';
\set id random(1, 1000)
\set r random(1, 100)
\if :r <= 40
UPDATE t SET n = n + 1, v = md5(random()::text) WHERE id = :id;
\elif :r <= 65
INSERT INTO t VALUES (:id, :r, 'new', repeat(md5(random()::text), 100)) ON CONFLICT DO NOTHING;
\elif :r <= 85
DELETE FROM t WHERE id = :id;
\elif :r <= 90
UPDATE t SET id = :id + 1000 WHERE id = :id AND NOT EXISTS (SELECT FROM t WHERE id = :id + 1000);
\elif :r <= 95
DELETE FROM t WHERE id = :id + 1000;
\else
UPDATE t SET big = repeat(md5(random()::text), 120) WHERE id = :id;
\endif
SQL
close $fh;

for my $nodes (2, 3)
{
	my $mesh = Mesh->new($nodes, proxy => 1);
	$mesh->make_group("CREATE TABLE t (id int PRIMARY KEY, n int, v text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;"
		. "INSERT INTO t SELECT g, 0, 'first', repeat(md5(g::text), 100) FROM generate_series(1, 1000) g");
	$mesh->wait_converged;
	for my $round (1 .. $rounds)
	{
		$mesh->cut(1 .. $nodes);
		$mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'", 0) or die for 1 .. $nodes;
		my @pids;
		for my $n (1 .. $nodes)
		{
			my $pid = fork() // die;
			if (!$pid)
			{
				exec 'pgbench', '-n', '-h', $mesh->node($n)->host, '-p', $mesh->node($n)->port, '-U', $mesh->user, '-c', 2,
					'-T', $seconds, '-R', 400, "--random-seed=" . ($seed + $round * 10 + $n), '-f', $script, 'app'
					or die;
			}
			push @pids, $pid;
		}
		waitpid $_, 0 for @pids;
		$mesh->heal(1 .. $nodes);
		$mesh->wait_for_streaming;
		$mesh->wait_converged;
		$mesh->is_identical("$nodes nodes, partition $round of $rounds");
	}
	cmp_ok($mesh->sql(1, 'SELECT sum(count) FROM replication_plugin.conflict_stats'), '>', 100, "$nodes nodes: there were conflicts");
	is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.links WHERE last_error IS NOT NULL"), $nodes - 1,
		"$nodes nodes: links told of the cut");
	$_->stop('immediate') for @{ $mesh->{nodes} };
}
done_testing();
