# Sessions that tests keep open: psql reads statements from a pipe, so that a test does not pay
# for a process and a new session with each of its statements. What is seen is as in a session
# of its own: each text begins with the session's defaults, and an error ends the session.
#
# A text for which a kept session would make a difference is refused by fits(): one that leaves
# a transaction open, has commands of psql, leaves what DISCARD ALL does not undo, or changes what
# new sessions begin with.
package Session;

use strict;
use warnings;
use IO::Select;

my $texts = 0;

# May this text run in a session that is kept?
sub fits
{
	my ($sql) = @_;
	return 0 if $sql =~ /^\s*\\|\\\\|\\[a-z]\w*\s*$/m;
	return 0 if $sql =~ /\b(?:BEGIN\s*;|BEGIN\s+(?:ISOLATION|READ|TRANSACTION|WORK)|START\s+TRANSACTION|COPY\s)/i;
	return 0 if $sql =~ /\bSESSION\s+AUTHORIZATION|\bSET\s+ROLE|\bLOAD\s+'|session_setup|setseed|\bTEMP(?:ORARY)?\s+(?:TABLE|VIEW|SEQUENCE)/i;
	return !changes_defaults($sql);
}

# Does it change what new sessions begin with, or end sessions?
sub changes_defaults
{
	my ($sql) = @_;
	return $sql =~ /\b(?:ALTER|DROP|CREATE)\s+(?:DATABASE|ROLE|USER|SYSTEM|EXTENSION|OWNED)|pg_reload_conf|pg_terminate_backend/i;
}

# Opens a session: the environment of psql, and its command with options.
sub new
{
	my ($class, $env, @command) = @_;
	my $self = bless { owner => $$, lines => 0, options => options($env) }, $class;
	pipe(my $in, $self->{in}) or die "pipe: $!";
	pipe($self->{out}, my $out) or die "pipe: $!";
	pipe($self->{err}, my $err) or die "pipe: $!";
	$self->{in}->autoflush(1);
	$self->{pid} = fork() // die "fork: $!";
	if (!$self->{pid})
	{
		%ENV = %$env;
		open STDIN, '<&', $in;
		open STDOUT, '>&', $out;
		open STDERR, '>&', $err;
		{ exec @command; }
		require POSIX;
		POSIX::_exit(127);
	}
	return $self;
}

# What libpq takes from an environment.
sub options
{
	my ($env) = @_;
	return join "\n", map { "$_=$env->{$_}" } grep { /^PG/ && defined $env->{$_} } sort keys %$env;
}

# Would a new session in this environment have the same options?
sub is_like
{
	my ($self, $env) = @_;
	return $self->{options} eq options($env);
}

# Runs a text. Returns (status, stdout, stderr), as psql does for a file: 0, or 3 after an
# error, which ends the session, or 2 where the connection is lost.
sub run
{
	my ($self, $sql) = @_;
	my @answer = $self->send("$sql\n;\n");
	# so that nobody who looks for this text among the sessions finds one that has ended it
	$self->send("DISCARD ALL;\n") if $answer[0] == 0;
	return @answer;
}

# Is the server still there?
sub is_alive
{
	my ($self) = @_;
	return $self->{owner} == $$ && $self->{pid} && ($self->send("RESET ALL;\n"))[0] == 0;
}

sub send
{
	my ($self, $text) = @_;
	my $mark = sprintf 'end of text %d of %d', ++$texts, $$;
	my %got = (out => '', err => '');
	{
		local $SIG{PIPE} = 'IGNORE';
		my $input = "$text\\echo $mark\n\\warn $mark\n";
		my $writer = IO::Select->new($self->{in});
		my $reader = IO::Select->new($self->{out}, $self->{err});
		my %open = (out => 1, err => 1);
		while (grep { $open{$_} && $got{$_} !~ /^\Q$mark\E\n\z/m } 'out', 'err')
		{
			if (length $input && $writer->can_write(0))
			{
				my $n = syswrite($self->{in}, $input, 4096);
				$input = defined $n ? substr($input, $n) : '';
				next if length $input && !$reader->can_read(0);
			}
			for my $fh ($reader->can_read(length $input ? 0.001 : undef))
			{
				my $which = $fh == $self->{out} ? 'out' : 'err';
				next if sysread($fh, $got{$which}, 65536, length $got{$which});
				$open{$which} = 0;
				$reader->remove($fh);
			}
		}
		s/^\Q$mark\E\n\z//m for values %got;
		# lines count from the begin of this text
		$got{err} =~ s/^(psql:<stdin>:)(\d+)/$1 . ($2 - $self->{lines})/gme;
		$self->{lines} += () = "$text\n\n" =~ /\n/g;
		chomp(@got{ 'out', 'err' });
		return (0, @got{ 'out', 'err' }) if $open{out} && $open{err};
	}
	waitpid $self->{pid}, 0;
	$self->{pid} = 0;
	die "psql ended by signal @{[$? & 127]}: $got{err}" if $? & 127;
	return ($? >> 8, @got{ 'out', 'err' });
}

sub close
{
	my ($self) = @_;
	return if $self->{owner} != $$ || !$self->{pid};
	local ($?, $!);
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = 0;
}

sub DESTROY { $_[0]->close; }

1;
