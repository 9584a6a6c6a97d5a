# Cuts a failing history down: leaves out steps, then statements, as long as what is left still fails in the same way. What depends on
# chance may need more than one try; so of two tries one that fails is enough.
package History::Reducer;

use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);

sub new
{
	my ($class, $runner, $failure, %opt) = @_;
	return bless { runner => $runner, kind => $failure->{kind}, until => time() + $opt{seconds}, tries => $opt{tries} || 2, runs => 0 }, $class;
}

sub summary { return "$_[0]{runs} runs, " . ($_[0]{again} ? 'it failed again' : 'it did not fail again'); }
sub has_time { return time() < $_[0]{until}; }

# True if these steps fail in the same way.
sub fails
{
	my ($self, @steps) = @_;
	push @steps, { verb => 'check', args => [], sql => [] } if !@steps || $steps[-1]{verb} ne 'check';
	local $self->{runner}{patience} = 25;
	for (1 .. $self->{tries})
	{
		return 0 unless $self->has_time;
		$self->{runs}++;
		my $failure = eval { $self->{runner}->run(@steps) };
		if ($failure && $failure->{kind} eq $self->{kind})
		{
			$self->{again} = 1;
			note("still fails with " . @steps . ' steps: ' . substr $failure->{text}, 0, 1000);
			return 1;
		}
	}
	return 0;
}

# Leaves out parts of a list, first large ones, as long as test says that it still fails.
sub without
{
	my ($self, $test, @list) = @_;
	for (my $size = int(@list / 2) || 1; $size >= 1 && $self->has_time; $size = int($size / 2))
	{
		for (my $at = 0; $at < @list && $self->has_time;)
		{
			my @rest = @list;
			splice @rest, $at, $size;
			if ($test->(@rest)) { @list = @rest; }
			else { $at += $size; }
		}
	}
	return @list;
}

sub reduce
{
	my ($self, @steps) = @_;
	# the last stretch by itself may do
	my ($start) = grep { $_ == 0 || $steps[ $_ - 1 ]{verb} eq 'check' } reverse 0 .. $#steps;
	my @last = @steps[ $start .. $#steps ];
	my @writes = grep { $_->{verb} ne 'check' } @steps;
	my @base = $start > 0 && $self->fails(@last) ? @last : $self->fails(@writes) ? @writes : @steps;
	@steps = $self->without(sub { $self->fails(@_) }, @base);
	for my $i (0 .. $#steps)
	{
		next if @{ $steps[$i]{sql} } < 2;
		$steps[$i]{sql} = [ $self->without(sub { my @sql = @_; @sql && $self->fails(map { $_ == $i ? { %{ $steps[$_] }, sql => \@sql } : $steps[$_] } 0 .. $#steps) }, @{ $steps[$i]{sql} }) ];
	}
	return @steps;
}

1;
