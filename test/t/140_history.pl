# Random histories over everything on three real servers: tables of every kind and policy, all kinds of writes, values up to 1 MB, and
# all that can happen to servers, links and clocks in between. After each stretch all faults end, and all nodes must be equal, byte
# by byte, and show what their own notes of their writes say: see History.pm.
#
# SECONDS_OF_LOAD=7200 for two hours. SEED=n begins with that history; HISTORY=file runs the one of a file, as often as TIMES says.
# A history that fails is cut down to a short one, for REDUCE seconds.
use strict;
use warnings;
use History;
use History::Maker;
use History::Reducer;
use History::Runner;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = Mesh::seed();
my $until = time() + ($ENV{SECONDS_OF_LOAD} || 75);
my $runner = History::Runner->new;

# Runs a history; one assertion. Says how to see its failure again.
sub try_history
{
	my ($name, @steps) = @_;
	my $begin = time();
	my $failure = $runner->run(@steps);
	ok(!$failure, "$name: " . @steps . ' steps') or diag("$failure->{kind}, at step $failure->{step}: $failure->{text}");
	note(sprintf '%s: %.0f s', $name, time() - $begin);
	return $failure;
}

sub reduce
{
	my ($failure, $name, @steps) = @_;
	return if $failure->{kind} eq 'runner';
	my $reducer = History::Reducer->new($runner, $failure, seconds => $ENV{REDUCE} || 240);
	my @short = $reducer->reduce(@steps);
	my $file = ($ENV{HISTORY_DIR} || '/tmp') . "/history.$name.txt";
	my $text = "# seed $name, $failure->{kind}; " . $reducer->summary . "\n" . History::text(@short);
	if (open my $fh, '>', $file) { print $fh $text; close $fh; }
	diag("a shorter history that fails, in $file (HISTORY=$file make test TESTS=t/140_history.pl):\n$text");
}

if ($ENV{HISTORY})
{
	my @steps = History::parse(PostgreSQL::Test::Utils::slurp_file($ENV{HISTORY}));
	for my $time (1 .. $ENV{TIMES} || 1) { try_history("history of a file, time $time", @steps) && last; }
}
else
{
	my $n = 0;
	while (time() < $until || !$n)
	{
		my $name = $seed + $n++;
		my @steps = History::Maker::history($name);
		my $failure = try_history("history of seed $name", @steps) or next;
		reduce($failure, $name, @steps[ 0 .. $failure->{step} - 1 ]);
		last;
	}
	note("figures: $n histories, $runner->{transactions} transactions, errors of clients: " . join(', ', map { "$_ $runner->{all_errors}{$_}" } sort keys %{ $runner->{all_errors} }));
}
note("worker: $_: $runner->{log_errors}{$_}") for sort keys %{ $runner->{log_errors} };
done_testing();
