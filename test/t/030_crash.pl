# Random load on three nodes with kill -9 of link workers, walsenders and whole servers
# every few seconds. At the end all tables are identical, and counters on rows that only one
# client touches equal the number of acknowledged increments.
use strict;
use warnings;
use IPC::Run;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = Mesh::seed();
my $seconds = $ENV{SECONDS_OF_LOAD} || 60;
my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL DEFAULT 0, filler text);
CREATE TABLE history (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), account int, delta int, at timestamptz DEFAULT now());
CREATE TABLE counters (id text PRIMARY KEY, n int NOT NULL);
INSERT INTO accounts SELECT g, 0, repeat('x', 80) FROM generate_series(1, 1000) g;
INSERT INTO counters SELECT n || '/' || c, 0 FROM generate_series(1, 3) n, generate_series(1, 2) c;
SQL
$mesh->wait_converged;

my $dir = PostgreSQL::Test::Utils::tempdir();

# One client: its own counter, rows that all fight for, inserts, deletes. It writes what was
# acknowledged, and what it does not know of, into a file.
sub client
{
	my ($n, $c, $file) = @_;
	srand($seed + $n * 100 + $c);
	my ($acked, $unknown) = (0, 0);
	my $parent = getppid();
	my $dsn = $mesh->dsn($n);
	while (!-e "$dir/stop" && getppid() == $parent)
	{
		# a batch in one psql, one transaction a line; each acknowledged one prints its line
		my $batch = '';
		for my $k (1 .. 40)
		{
			my ($a, $d, $r) = (1 + int rand 1000, int(rand 100) - 50, rand);
			$batch .= "BEGIN; UPDATE counters SET n = n + 1 WHERE id = '$n/$c'; UPDATE accounts SET balance = balance + $d WHERE id = $a;";
			$batch .= "INSERT INTO history (account, delta) VALUES ($a, $d);" if $r < 0.6;
			$batch .= "DELETE FROM accounts WHERE id = $a;" if $r > 0.9;
			$batch .= "INSERT INTO accounts VALUES ($a, $d, 'again') ON CONFLICT DO NOTHING;" if $r > 0.6 && $r < 0.8;
			$batch .= "COMMIT;\n\\echo done\n";
		}
		# from a file: a psql that dies must not take us along by its broken input pipe
		open my $fh, '>', "$file.sql" or die;
		print $fh $batch;
		close $fh;
		my ($out, $err) = ('', '');
		my $status = IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$file.sql", '-d', $dsn ],
			'<', '/dev/null', '>', \$out, '2>', \$err);
		my $done = () = $out =~ /^done$/mg;
		$acked += $done;
		# the one that failed may have been committed without our hearing of it
		$unknown++ if !$status;
		sleep 0.05 if !$status;
	}
	open my $fh, '>', $file or die;
	print $fh "$acked $unknown\n";
	close $fh;
}

my @clients;
for my $n (1 .. 3)
{
	for my $c (1 .. 2)
	{
		my $pid = fork() // die;
		if (!$pid)
		{
			eval { client($n, $c, "$dir/$n.$c") };
			require POSIX;
			POSIX::_exit($@ ? 1 : 0);
		}
		push @clients, $pid;
	}
}

my %kills;
my $end = time() + $seconds;
# on a slow machine each takes longer
while (time() < $end - 2 || ($kills{link} || 0) + ($kills{walsender} || 0) + ($kills{server} || 0) < $seconds / 8)
{
	last if time() > $end + 300;
	sleep 1 + rand 2;
	my $n = 1 + int rand 3;
	my $kind = ('link', 'walsender', 'server')[ int rand 3 ];
	if ($kind eq 'server')
	{
		$mesh->kill_server($n);
		$mesh->start_server($n);
		$kills{server}++;
	}
	elsif ($mesh->kill_one($n, $kind))
	{
		$kills{$kind}++;
		# a killed process takes the server through crash recovery
		$mesh->poll($n, 'SELECT true') or die "node $n does not come back";
	}
}
open my $stop, '>', "$dir/stop" or die;
close $stop;
waitpid $_, 0 for @clients;
printf "# figures: kill -9 of %d link workers, %d walsenders, %d servers in %d s\n",
	$kills{link} || 0, $kills{walsender} || 0, $kills{server} || 0, $seconds;
cmp_ok(($kills{link} || 0) + ($kills{walsender} || 0) + ($kills{server} || 0), '>=', int($seconds / 8), 'there were kills');

# everybody comes back by himself
for my $n (1 .. 3)
{
	ok($mesh->poll($n, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'", 2), "links of node $n stream again");
}
$mesh->wait_converged;
$mesh->is_identical('after crashes');
my $total = 0;
for my $n (1 .. 3)
{
	for my $c (1 .. 2)
	{
		open my $fh, '<', "$dir/$n.$c" or die "client $n/$c died";
		my ($acked, $unknown) = split ' ', scalar <$fh>;
		my $value = $mesh->sql(1 + int rand 3, "SELECT n FROM counters WHERE id = '$n/$c'");
		$total += $acked;
		ok($value >= $acked && $value <= $acked + $unknown, "counter $n/$c: $acked acknowledged, $unknown unknown, value $value");
	}
}
print "# figures: $total acknowledged transactions\n";
cmp_ok($total, '>', 10 * $seconds, 'there was load');
done_testing();
