#!/usr/bin/env perl
# Files, tests and sections that comments and documents name must exist.
#   check_names.pl ROOT | --self-test
# Looked for are names like shared/clock.c (below src/), t/010_mesh.pl, and (docs/protocol.md, Section).
use strict;
use warnings;
use File::Find;
use File::Temp qw(tempdir);
use File::Path qw(make_path);

sub slurp { open my $fh, '<', $_[0] or die "$_[0]: $!\n"; local $/; return <$fh> // ''; }

# Headings of a document, as they are cited.
sub headings
{
	my ($file) = @_;
	return {} unless -f $file;
	my %found = map { s/\s+$//r => 1 } slurp($file) =~ /^#+ +(.*)$/mg;
	return \%found;
}

sub complaints
{
	my ($root) = @_;
	my $sections = headings("$root/docs/protocol.md");
	my (@files, @bad);
	find({ no_chdir => 1, wanted => sub { push @files, $File::Find::name if /\.(?:[ch]|md|sql)$/ && !m{/update/|/corpus/}; } },
		grep { -e } "$root/src", "$root/docs", "$root/README.md", "$root/CONTRIBUTING.md", "$root/SECURITY.md");
	for my $file (sort @files)
	{
		my $text = slurp($file);
		(my $name = $file) =~ s{^\Q$root\E/}{};
		my %rooms = map { $_ => 1 } map { m{^\Q$root\E/src/(.*)/} ? $1 : () } @files;
		for my $room (sort keys %rooms)
		{
			while ($text =~ m{(?<![\w/.])(\Q$room\E/[a-z_0-9]+\.[ch])\b}g)
			{
				my $at = $1;
				# PostgreSQL has files of such names, too, which are included
				next if -f "$root/src/$at" || substr($text, 0, $-[0]) =~ /#\s*include\s*[<"][^\n]*$/;
				push @bad, "$name names $at, which does not exist";
			}
		}
		while ($text =~ m{\bt/(\d{3}_\w+\.pl)}g) { push @bad, "$name names t/$1, which does not exist" unless -f "$root/test/t/$1"; }
		while ($text =~ m{\(docs/protocol\.md, ([^)]+)\)}g)
		{
			for my $s (split /, /, $1 =~ s/\s*\n[\s*]*/ /gr) { push @bad, "$name cites section \"$s\" of docs/protocol.md, which does not exist" unless $sections->{$s}; }
		}
	}
	return @bad;
}

sub self_test
{
	my $dir = tempdir(CLEANUP => 1);
	make_path("$dir/src/base", "$dir/docs", "$dir/test/t");
	my $put = sub { open my $fh, '>', "$dir/$_[0]" or die; print $fh $_[1]; close $fh; };
	$put->('docs/protocol.md', "# Rules\n\n## Gate\n");
	$put->('src/base/a.c', "/* see base/a.c (docs/protocol.md, Gate) */\n");
	die "the check finds what is right\n" if complaints($dir);
	$put->('src/base/a.c', "/* see base/b.c (docs/protocol.md, Gate, Door); t/001_none.pl */\n");
	my @bad = complaints($dir);
	die "the check does not find names of nothing\n" unless @bad == 3;
	print "names: the check finds those of nothing\n";
}

if (($ARGV[0] // '') eq '--self-test') { self_test(); exit 0; }
my @bad = complaints($ARGV[0] // '.');
print "$_\n" for @bad;
print 'names: ', (@bad ? scalar(@bad) . " of nothing\n" : "all are of something\n");
exit(@bad ? 1 : 0);
