#!/usr/bin/env perl
# Files of src/ that call one another in a circle, by the symbols of the objects that were built of them; and figures of the tree.
#   check_circles.pl BUILT_TREE | --self-test
# A call through a pointer is not seen here: who is given a function calls upward, which is listed where it is meant (src/README.md).
use strict;
use warnings;
use File::Find;
use File::Temp qw(tempdir);
use List::Util qw(max min sum0);

# The symbols of all objects below a directory: { file => { defines => {}, uses => {}, variables => n } }.
sub symbols
{
	my ($dir) = @_;
	my %files;
	find({ no_chdir => 1, wanted => sub {
		return unless /\.o$/;
		(my $name = $File::Find::name) =~ s{^\Q$dir\E/?(.*)\.o$}{$1};
		open my $nm, '-|', 'nm', '-f', 'sysv', $File::Find::name or die "nm: $!\n";
		my $f = $files{$name} = { defines => {}, uses => {}, variables => [] };
		while (<$nm>)
		{
			my ($symbol, undef, $type, undef, undef, undef, $section) = map { s/^\s+|\s+$//gr } split /\|/;
			next unless defined $section;
			if ($type eq 'U') { $f->{uses}{$symbol} = 1; next; }
			$f->{defines}{$symbol} = 1 if $type =~ /[TDBRC]/;
			# static buffers of PostgreSQL's own macros are none of ours
			push @{ $f->{variables} }, $symbol if $type =~ /[bBdD]/ && $section !~ /rel\.ro/ && $symbol !~ /^(?:Pg_magic|pg_finfo|my_finfo|\.|__|completed\.|_)/;
		}
		close $nm;
	} }, $dir);
	return \%files;
}

# Which file uses what of which other: { file => { other => [symbol, ...] } }.
sub edges
{
	my ($files) = @_;
	my (%home, %edges);
	for my $f (keys %$files) { $home{$_} = $f for keys %{ $files->{$f}{defines} }; }
	for my $f (keys %$files)
	{
		for my $s (sort keys %{ $files->{$f}{uses} })
		{
			push @{ $edges{$f}{ $home{$s} } }, $s if $home{$s} && $home{$s} ne $f;
		}
	}
	return \%edges;
}

# Groups of files of which each reaches each other one (Tarjan, Depth-first search and linear graph algorithms, 1972).
sub circles
{
	my ($edges) = @_;
	my (%index, %low, @stack, %on, @circles, $visit);
	my $n = 0;
	$visit = sub {
		my ($v) = @_;
		$index{$v} = $low{$v} = $n++;
		push @stack, $v;
		$on{$v} = 1;
		for my $w (sort keys %{ $edges->{$v} || {} })
		{
			if (!exists $index{$w}) { $visit->($w); $low{$v} = min($low{$v}, $low{$w}); }
			elsif ($on{$w}) { $low{$v} = min($low{$v}, $index{$w}); }
		}
		return if $low{$v} != $index{$v};
		my @group;
		do { push @group, pop @stack; delete $on{ $group[-1] }; } while $group[-1] ne $v;
		push @circles, [ sort @group ] if @group > 1;
	};
	no warnings 'recursion';
	for my $v (sort keys %$edges) { $visit->($v) unless exists $index{$v}; }
	return @circles;
}

sub complaints
{
	my ($dir) = @_;
	my $edges = edges(symbols($dir));
	my @bad;
	for my $c (circles($edges))
	{
		push @bad, 'circle of calls: ' . join(', ', @$c);
		for my $a (@$c) { for my $b (grep { $edges->{$a}{$_} } @$c) { push @bad, "  $a -> $b: " . join(', ', @{ $edges->{$a}{$b} }); } }
	}
	return @bad;
}

# ---------- figures ----------

# Lengths of the functions of a file, and its Asserts.
sub read_source
{
	my ($file) = @_;
	open my $fh, '<', $file or die "$file: $!\n";
	my (@functions, $begin);
	my $asserts = 0;
	while (<$fh>)
	{
		$asserts++ while /\bAssert\s*\(/g;
		$begin = $. if /^\{/;
		if (/^\}\s*$/ && $begin) { push @functions, $. - $begin + 1; undef $begin; }
	}
	return ($., $asserts, @functions);
}

sub figures
{
	my ($dir) = @_;
	my (%room, @lengths, @all);
	my ($asserts, $lines) = (0, 0);
	find({ no_chdir => 1, wanted => sub {
		return unless /\.[ch]$/;
		(my $name = $File::Find::name) =~ s{^\Q$dir\E/?}{};
		my ($n, $a, @f) = read_source($File::Find::name);
		my $room = $name =~ m{^(.+)/} ? $1 : '.';
		$room{$room} += $n;
		$lines += $n;
		$asserts += $a;
		push @lengths, @f if $name =~ /\.c$/;
		push @all, [ $n, $name ];
	} }, $dir);
	@lengths = sort { $a <=> $b } @lengths;
	@all = sort { $b->[0] <=> $a->[0] } @all;
	my $files = symbols($dir);
	my $variables = sum0(map { scalar @{ $_->{variables} } } values %$files);
	print 'lines by room: ', join(', ', map { "$_ $room{$_}" } sort keys %room), "; in all $lines\n";
	printf "functions: %d, median %d lines, p90 %d, longest %d\n", scalar @lengths, $lengths[ @lengths / 2 ], $lengths[ @lengths * 0.9 ], $lengths[-1];
	printf "variables of files: %d (%.1f per 1,000 lines); Asserts: %d; longest file: %s (%d lines)\n", $variables, 1000 * $variables / max($lines, 1), $asserts,
		$all[0][1], $all[0][0];
}

sub self_test
{
	my $dir = tempdir(CLEANUP => 1);
	my $put = sub { open my $fh, '>', "$dir/$_[0].c" or die; print $fh $_[1]; close $fh; system('cc', '-c', '-o', "$dir/$_[0].o", "$dir/$_[0].c") == 0 or die "cc\n"; };
	$put->('a', "void b(void); void a(void); void a(void) { b(); }\n");
	$put->('b', "void c(void); void b(void); void b(void) { c(); }\n");
	die "the check finds a circle where there is none\n" if complaints($dir);
	$put->('c', "void a(void); void c(void); void c(void) { a(); }\n");
	my @bad = complaints($dir);
	die "the check does not find a circle\n" unless @bad && $bad[0] eq 'circle of calls: a, b, c';
	print "circles: the check finds them\n";
}

if (($ARGV[0] // '') eq '--self-test') { self_test(); exit 0; }
my $dir = $ARGV[0] or die "check_circles.pl BUILT_TREE | --self-test\n";
die "no objects in $dir\n" unless %{ symbols($dir) };
my @bad = complaints($dir);
print "$_\n" for @bad;
print 'circles of calls: ', scalar(grep { /^circle/ } @bad), "\n";
figures($dir);
exit(@bad ? 1 : 0);
