# A psql that takes statements as they come, for History::Runner: what it prints goes to a file, where the end of each piece shows.
package History::Session;

use strict;
use warnings;
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

my $count = 0;

# Nothing that a statement waits for may hold up a history for ever: a prepared transaction has locks, and an applier too.
my $settings = 'SET lock_timeout = \'1500ms\'; SET statement_timeout = \'40s\'; SET client_min_messages = error;';

sub new
{
	my ($class, $dsn, $dir) = @_;
	my $file = sprintf '%s/session.%d', $dir, ++$count;
	pipe(my $read, my $write) or die "pipe: $!";
	open my $out, '>>', $file or die "$file: $!";
	my $pid = fork() // die "fork: $!";
	if (!$pid)
	{
		close $write;
		open STDIN, '<&', $read;
		open STDOUT, '>&', $out;
		open STDERR, '>&', $out;
		{ exec 'psql', '-XqAt', '-d', $dsn; }
		POSIX::_exit(127);
	}
	close $_ for $read, $out;
	$write->autoflush(1);
	my $self = bless { pid => $pid, to => $write, file => $file, sent => 0, owner => $$ }, $class;
	$self->send("\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$settings\n");
	return $self;
}

# Gives it something to do; false if it is gone.
sub send
{
	my ($self, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $number = ++$self->{sent};
	return print { $self->{to} } "$sql\n\\echo =end $number\n";
}

sub output { return PostgreSQL::Test::Utils::slurp_file($_[0]{file}); }

sub is_gone
{
	my ($self) = @_;
	$self->{gone} ||= waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
	return $self->{gone};
}

# Waits until all that it was given has ended: true; or it is gone: true as well; or time is up.
sub wait_idle
{
	my ($self, $seconds) = @_;
	my $until = time() + $seconds;
	my $pause = 0.002;
	while (!$self->is_gone)
	{
		return 1 if $self->output =~ /^=end $self->{sent}$/m;
		return 0 if time() > $until;
		sleep($pause);
		$pause = 0.05 if ($pause *= 1.3) > 0.05;
	}
	return 1;
}

# Ends it; returns all that it has printed.
sub finish
{
	my ($self) = @_;
	close $self->{to};
	kill 'TERM', $self->{pid} if !$self->is_gone && !$self->wait_idle(0);
	waitpid $self->{pid}, 0 unless $self->is_gone;
	$self->{gone} = 1;
	my $output = $self->output;
	unlink $self->{file};
	return $output;
}

1;
