#!/usr/bin/env perl
# Holds the include graph of src/ to the order of its rooms, and free of cycles; and what depends on PostgreSQL's version to one file.
#   check_floors.pl DIR | --self-test
# A file includes files of its own room and of lower ones. Rooms of the same floor may not use each other.
use strict;
use warnings;
use File::Find;
use File::Temp qw(tempdir);
use File::Path qw(make_path);

my @floors = (
	['base'], ['model'], ['wire'], ['catalog'], ['shared'], ['store'], ['merge', 'log'], ['capture'],
	['apply', 'queue', 'output'], ['receive'],
	['control/workers'], ['control/group', 'control/join', 'control/waiting'], ['control/links', 'control/guard'],
	['sqlapi'], ['.']);
my %floor;
for my $i (0 .. $#floors) { $floor{$_} = $i for @{ $floors[$i] }; }

sub complaints
{
	my ($dir) = @_;
	my (%includes, @bad);
	find({ no_chdir => 1, wanted => sub {
		return unless /\.[ch]$/;
		my $file = $File::Find::name;
		(my $name = $file) =~ s{^\Q$dir\E/?}{};
		my $room = $name =~ m{^(.+)/} ? $1 : '.';
		push @bad, "$name is in a room without a floor" unless exists $floor{$room};
		open my $fh, '<', $file or die "$file: $!";
		while (<$fh>)
		{
			push @bad, "$name:$. reads PostgreSQL's version: only base/compat.h may" if /\bPG_(?:MAJOR)?VERSION(?:_NUM)?\b/ && $name !~ m{^base/compat\.[ch]$};
			next unless /^\s*#\s*include\s+"([^"]+)"/;
			my $inc = $1;
			next unless -f "$dir/$inc";
			push @{ $includes{$name} }, $inc;
			my $to = $inc =~ m{^(.+)/} ? $1 : '.';
			next if $to eq $room;
			next if ($floor{$to} // 99) < ($floor{$room} // -1);
			push @bad, "$name includes $inc: $room may not use $to";
		}
		close $fh;
	} }, $dir);
	my %seen;
	my $visit;
	$visit = sub {
		my ($f, @path) = @_;
		if (grep { $_ eq $f } @path) { push @bad, 'cycle: ' . join(' -> ', @path, $f); return; }
		return if $seen{$f}++;
		$visit->($_, @path, $f) for @{ $includes{$f} || [] };
	};
	$visit->($_) for sort keys %includes;
	return @bad;
}

sub self_test
{
	my $dir = tempdir(CLEANUP => 1);
	make_path("$dir/base", "$dir/apply");
	my $put = sub { open my $fh, '>', "$dir/$_[0]" or die; print $fh $_[1]; close $fh; };
	$put->('base/a.h', "#include \"apply/b.h\"\n");
	$put->('apply/b.h', "#include \"base/a.h\"\n");
	$put->('base/compat.h', "#if PG_VERSION_NUM < 150000\n");
	$put->('apply/c.c', "int x; /* SERVER_VERSION_NUM */\n#if PG_VERSION_NUM >= 160000\n");
	my @bad = complaints($dir);
	my $found = grep { /base may not use apply/ } @bad;
	my $cycle = grep { /cycle/ } @bad;
	die "the check does not find violations\n" unless $found && $cycle && (grep { /version/ } @bad) == 1 && grep { /^apply\/c\.c:2 reads/ } @bad;
	print "floors: the check finds violations\n";
}

if (($ARGV[0] // '') eq '--self-test') { self_test(); exit 0; }
my @bad = complaints($ARGV[0] // 'src');
print "$_\n" for @bad;
print "floors: ", (@bad ? scalar(@bad) . " violations\n" : "kept, no cycles\n");
exit(@bad ? 1 : 0);
