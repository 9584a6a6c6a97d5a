# The same three versions of a row (two updates and a delete, concurrent) arrive on a fourth
# node in every order; the result is the same everywhere. With ties too: three writes with
# the same commit timestamp, made by committing under an origin of the test's own with a
# given timestamp; then the greatest node number wins, whoever applies.
use strict;
use warnings;
use Mesh;
use Test::More;

# a fourth node only watches: it takes from each of the writers when we say so
my $mesh = Mesh->new(4);
$mesh->make_group('CREATE TABLE t (id int PRIMARY KEY, v text)');

my @orders = ([ 1, 2, 3 ], [ 1, 3, 2 ], [ 2, 1, 3 ], [ 2, 3, 1 ], [ 3, 1, 2 ], [ 3, 2, 1 ]);
my $key = 0;

sub pause_all
{
	for my $i (1 .. 4)
	{
		for my $p (grep { $_ != $i } 1 .. 4)
		{
			$mesh->sql($i, "SELECT replication_plugin.pause_link('node$p')");
		}
	}
	for my $i (1 .. 4)
	{
		$mesh->poll($i, "SELECT count(*) FROM replication_plugin.links WHERE state = 'paused'", 3) or die;
	}
}

$mesh->all_sql("SELECT pg_replication_origin_create('tie')");
my $tie = '';
for my $writes ([ 'update', 'update', 'delete' ], [ 'delete', 'update', 'update' ], [ 'update', 'delete', 'update' ],
	[ 'update', 'update', 'delete', 'tied' ], [ 'delete', 'update', 'update', 'tied' ])
{
	# all rows for the six orders, known everywhere
	my @keys = map { ++$key } @orders;
	$mesh->sql(1, 'INSERT INTO t VALUES ' . join(',', map { "($_, 'first')" } @keys));
	$mesh->wait_converged;
	for my $o (0 .. $#orders)
	{
		my $k = $keys[$o];
		pause_all();
		# concurrent: nobody sees the others'; in time, node 1 first, node 3 last, or all at once
		$tie = $mesh->sql(1, "SELECT replication_plugin.clock_tick() + interval '1 second'"); # ahead of all clocks
		for my $n (1 .. 3)
		{
			my $write = $writes->[ $n - 1 ] eq 'update' ? "UPDATE t SET v = 'by $n' WHERE id = $k" : "DELETE FROM t WHERE id = $k";
			$write = "SELECT pg_replication_origin_session_setup('tie'); BEGIN; SELECT pg_replication_origin_xact_setup('0/1', '$tie'); $write; COMMIT"
				if $writes->[3];
			$mesh->sql($n, $write);
		}
		# node 4 takes them in this order
		for my $n (@{ $orders[$o] })
		{
			my $lsn = $mesh->sql($n, 'SELECT pg_current_wal_flush_lsn()');
			$mesh->sql(4, "SELECT replication_plugin.resume_link('node$n')");
			$mesh->poll(4, "SELECT coalesce(applied_lsn >= '$lsn', false) FROM replication_plugin.links WHERE provider = 'node$n'") or die;
		}
		my $expected = $writes->[2] eq 'delete' ? '' : 'by 3';
		is($mesh->sql(4, "SELECT v FROM t WHERE id = $k"), $expected,
			"@$writes arriving as @{$orders[$o]}: the last write stands");
		for my $i (1 .. 4)
		{
			$mesh->sql($i, "SELECT replication_plugin.resume_link('node$_')") for grep { $_ != $i } 1 .. 4;
		}
		$mesh->wait_converged;
	}
	$mesh->is_identical("@$writes in every order");
}
cmp_ok($mesh->sql(4, 'SELECT count(*) FROM replication_plugin.conflicts'), '>=', 18, 'the conflicts are recorded');

done_testing();
