#!/usr/bin/perl
# What the corpora cover of each reader: coverage.pl [--some] LIBRARY READERS EDGES...; some: of those that were run at all.
# READERS names functions file by file ("wire/wire.c: wire_read_type read_column", "*" for all of the file); EDGES are
# what fuzz_replay() writes: address, covered or not. Prints "FILE: covered X of Y edges"; fails if there is no such function.
use strict;
use warnings;

my $some = $ARGV[0] eq '--some' && shift;
my ($library, $readers, @files) = @ARGV;
my %covered;
for my $file (@files)
{
	open my $f, '<', $file or die "$file: $!\n";
	while (<$f>)
	{
		my ($address, $hit) = split;
		$covered{$address} ||= $hit;
	}
}
my @addresses = sort keys %covered;
my ($symbolizer) = grep { -x $_ } (glob('/usr/lib/llvm-*/bin/llvm-symbolizer'), '/usr/bin/llvm-symbolizer');
die "no llvm-symbolizer\n" unless $symbolizer;
my $list = "/tmp/fuzz_addresses.$$";
open my $l, '>', $list or die;
print $l "$_\n" for @addresses;
close $l;
my (%edges, %hits);
open my $s, '-|', "$symbolizer --obj='$library' --output-style=LLVM --inlines <'$list'" or die;
my $i = 0;
my $first = 1;
my $function;
while (my $line = <$s>)
{
	chomp $line;
	if ($line eq '') { $i++; $first = 1; next }
	if ($first && !defined $function) { $function = $line; next }
	if (defined $function)
	{
		# the innermost: where the edge was written
		if ($first && $line =~ m{/src/((?:[a-z_]+/)+[a-z_0-9]+\.[ch]):})
		{
			$edges{$1}{$function}++;
			$hits{$1}{$function}++ if $covered{$addresses[$i]};
		}
		undef $function;
		$first = 0;
		next;
	}
	$function = undef;
}
close $s;
unlink $list;

my $failed = 0;
my ($all_edges, $all_hits) = (0, 0);
open my $r, '<', $readers or die "$readers: $!\n";
while (<$r>)
{
	s/#.*//;
	next unless /^(\S+):\s*(.*\S)/;
	my ($file, @functions) = ($1, split ' ', $2);
	@functions = sort keys %{$edges{$file} || {}} if $functions[0] eq '*';
	my ($e, $h) = (0, 0);
	my @cold;
	for my $f (@functions)
	{
		if (!$edges{$file}{$f}) { print "$file has no function $f\n"; $failed = 1; next }
		$e += $edges{$file}{$f};
		$h += $hits{$file}{$f} || 0;
		push @cold, $f if !$hits{$file}{$f};
	}
	next if !$h && $some;		# of another target
	printf "%s: covered %d of %d edges%s\n", $file, $h, $e, @cold ? " (never run: @cold)" : '';
	$all_edges += $e;
	$all_hits += $h;
}
printf "all readers: covered %d of %d edges\n", $all_hits, $all_edges;
exit($failed || !$all_hits);
