# Random writes on every node of a Mesh, with exact counters of what was acknowledged.
#
# Each client has a counter of its own; each of its transactions adds one to it and puts the new value into
# a table without a key, where a transaction that is applied twice, or not at all, shows. All
# clients also update, delete and insert rows that they fight for.
package Load;

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

our $schema = <<'SQL';
CREATE TABLE counters (id text PRIMARY KEY, n int NOT NULL);
CREATE TABLE once (id text, n int);
ALTER TABLE once REPLICA IDENTITY FULL;
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, filler text);
INSERT INTO accounts SELECT g, 0, repeat('x', 80) FROM generate_series(1, 300) g;
SQL
our @tables = qw(counters once accounts);
my $accounts = 300;
my $batch = 15;

# Load->start(mesh, name => 'ring', seed => n, nodes => [...], clients => 1, pause => seconds between batches).
sub start
{
	my ($class, $mesh, %opt) = @_;
	my $self = bless { mesh => $mesh, name => $opt{name} =~ tr/ /_/r, dir => PostgreSQL::Test::Utils::tempdir(), clients => [] }, $class;
	for my $n (@{ $opt{nodes} || [ 1 .. $mesh->size ] })
	{
		for my $c (1 .. $opt{clients} || 1)
		{
			my $pid = fork() // die "fork: $!";
			if (!$pid)
			{
				srand($opt{seed} + 100 * $n + $c);
				eval { $self->client($n, $c, $opt{pause} // 0.05) };
				print STDERR $@ if $@;
				require POSIX;
				POSIX::_exit($@ ? 1 : 0);
			}
			push @{ $self->{clients} }, { node => $n, id => "$self->{name}/$n/$c", file => "$self->{dir}/$n.$c", pid => $pid };
		}
	}
	return $self;
}

# One transaction a line; each acknowledged one prints its line.
sub random_batch
{
	my ($id) = @_;
	my $sql = '';
	for (1 .. $batch)
	{
		my ($a, $d, $r) = (1 + int rand $accounts, int(rand 100) - 50, rand);
		$sql .= "BEGIN; INSERT INTO counters VALUES ('$id', 1) ON CONFLICT (id) DO UPDATE SET n = counters.n + 1;"
			. "INSERT INTO once SELECT id, n FROM counters WHERE id = '$id';";
		$sql .= $r < 0.6 ? "UPDATE accounts SET balance = balance + $d WHERE id = $a;"
			: $r < 0.8 ? "INSERT INTO accounts VALUES ($a, $d, 'again') ON CONFLICT DO NOTHING;"
			: "DELETE FROM accounts WHERE id = $a;";
		$sql .= "COMMIT;\n\\echo done\n";
	}
	return $sql;
}

# Writes until the file "stop" is there; then notes how many were acknowledged, and how many may have been committed unheard.
sub client
{
	my ($self, $n, $c, $pause) = @_;
	my $file = "$self->{dir}/$n.$c";
	my ($acked, $unknown) = (0, 0);
	my $parent = getppid();
	while (!-e "$self->{dir}/stop" && getppid() == $parent)
	{
		# from a file: a psql that dies must not take us along by its broken input pipe
		open my $fh, '>', "$file.sql" or die "$file.sql: $!";
		print $fh random_batch("$self->{name}/$n/$c");
		close $fh;
		my ($out, $err) = ('', '');
		my $ok = IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$file.sql", '-d', $self->{mesh}->direct_dsn($n) ],
			'<', '/dev/null', '>', \$out, '2>', \$err);
		$acked += () = $out =~ /^done$/mg;
		$unknown++ if !$ok;
		note_progress($file, $acked, $unknown);
		sleep($ok ? $pause : 0.1);
	}
}

# The file is there as a whole or not at all.
sub note_progress
{
	my ($file, $acked, $unknown) = @_;
	open my $fh, '>', "$file.new" or die "$file.new: $!";
	print $fh "$acked $unknown\n";
	close $fh;
	rename "$file.new", $file or die "$file: $!";
}

# What a client has so far: (acknowledged, unknown).
sub progress
{
	my ($client) = @_;
	open my $fh, '<', $client->{file} or return (0, 0);
	return split ' ', scalar <$fh>;
}

# Acknowledged transactions so far, of the clients on some nodes, or of all.
sub acknowledged
{
	my ($self, @nodes) = @_;
	my $sum = 0;
	for my $client (@{ $self->{clients} })
	{
		$sum += (progress($client))[0] if !@nodes || grep { $_ == $client->{node} } @nodes;
	}
	return $sum;
}

# Waits until each client on these nodes (default: all) has written so many more transactions.
sub wait_for_more
{
	my ($self, $more, @nodes) = @_;
	@nodes = map { $_->{node} } @{ $self->{clients} } unless @nodes;
	for my $n (@nodes)
	{
		my ($start, $deadline) = ($self->acknowledged($n), time() + 180);
		while ($self->acknowledged($n) < $start + $more)
		{
			die "no writes on node $n" if time() > $deadline;
			sleep 0.05;
		}
	}
}

# Ends the load. Returns the number of acknowledged transactions.
sub stop
{
	my ($self) = @_;
	open my $fh, '>', "$self->{dir}/stop" or die;
	close $fh;
	for my $client (@{ $self->{clients} })
	{
		waitpid $client->{pid}, 0;
		die "the client of node $client->{node} died" if $?;
	}
	return $self->acknowledged;
}

# On each node: each counter is what was acknowledged, and each of its steps arrived once. An assertion per node.
sub check
{
	my ($self, @members) = @_;
	@members = 1 .. $self->{mesh}->size unless @members;
	for my $i (@members)
	{
		my @wrong;
		my %found = map { /^(\S+) (.*)$/ ? ($1, $2) : () } split /\n/, $self->{mesh}->sql($i,
			"SELECT id || ' ' || c.n || ' ' || count(o) || ' ' || count(DISTINCT o.n) || ' ' || coalesce(max(o.n), 0)
			 FROM counters c LEFT JOIN once o USING (id) WHERE id LIKE '$self->{name}/%' GROUP BY id, c.n");
		for my $client (@{ $self->{clients} })
		{
			my ($acked, $unknown) = progress($client);
			my ($n, $rows, $different, $max) = split ' ', $found{ $client->{id} } // '0 0 0 0';
			next if $n == $rows && $n == $different && $n == $max && $n >= $acked && $n <= $acked + $unknown;
			push @wrong, "$client->{id}: $acked acknowledged, $unknown unknown, counter $n, $rows steps, $different different";
		}
		is(join('; ', @wrong), '', "$self->{name}: node $i has each transaction once");
	}
}

sub DESTROY
{
	my ($self) = @_;
	open my $fh, '>', "$self->{dir}/stop" or return;
	close $fh;
}

1;
