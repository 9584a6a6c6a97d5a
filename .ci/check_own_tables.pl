#!/usr/bin/env perl
# Lists of the extension's own tables in SQL scripts must agree with the list in src/catalog/names.h, and with 10_tables.sql.
#   check_own_tables.pl ROOT | --self-test
use strict;
use warnings;
use File::Temp qw(tempdir);
use File::Path qw(make_path);

# What teardown() leaves: the history of conflicts, and the secret, which is this database's for good.
my @stays = qw(conflict_log conflict_count message_secret);

sub slurp { open my $fh, '<', $_[0] or die "$_[0]: $!\n"; local $/; return <$fh> // ''; }

# Returns the names in a text between two patterns, or nothing if it is not there.
sub names_in
{
	my ($text, $pattern) = @_;
	return $text =~ $pattern ? $1 =~ /\w+/g : ();
}

sub complaints
{
	my ($root) = @_;
	my %schema = map { $_ => slurp("$root/src/schema/$_.sql") } qw(10_tables 34_teardown 60_triggers 95_peer_rights);
	my $names = slurp("$root/src/catalog/names.h");
	my %name_of = $names =~ /^#define (TABLE_\w+)\s+"(\w+)"/mg;
	my ($list) = $names =~ /^#define OWN_COPIED_TABLES\(.*?\)((?:.*\\\n)*.*)/m;
	my @copied = map { $name_of{$_} // "$_?" } ($list // '') =~ /\((TABLE_\w+)\)/g;
	my @bad;
	my $compare = sub {
		my ($what, $wanted, $found) = @_;
		my %wanted = map { $_ => 1 } @$wanted;
		my %found = map { $_ => 1 } @$found;
		push @bad, map({ "$what lacks $_" } grep { !$found{$_} } sort keys %wanted), map({ "$what has $_" } grep { !$wanted{$_} } sort keys %found);
	};
	my @tables = $schema{'10_tables'} =~ /^CREATE (?:UNLOGGED )?TABLE (\w+)/mg;
	my %exists = map { $_ => 1 } @tables;
	push @bad, 'src/catalog/names.h has no list of copied tables' unless @copied;
	push @bad, map { "src/catalog/names.h names $_, which 10_tables.sql does not make" } grep { !$exists{$_} } @copied;
	$compare->('GRANT in 95_peer_rights.sql', \@copied, [ names_in($schema{'95_peer_rights'}, qr/^GRANT SELECT ON (member,[^;]*?) TO/m) ]);
	$compare->('the trigger "changed" in 60_triggers.sql', [ 'local_node', 'link', grep { $_ ne 'frontier' } @copied ],
		[ names_in($schema{'60_triggers'}, qr/ARRAY\[([^]]*)\] LOOP\s+EXECUTE format\('CREATE TRIGGER changed /) ]);
	my %stays = map { $_ => 1 } @stays;
	my @emptied = $schema{'34_teardown'} =~ /DELETE FROM replication_plugin\.(\w+);/g;
	push @emptied, map { /replication_plugin\.(\w+)/g } $schema{'34_teardown'} =~ /TRUNCATE ([^;]*);/g;
	$compare->('teardown() in 34_teardown.sql', [ grep { !$stays{$_} } @tables ], \@emptied);
	return @bad;
}

sub self_test
{
	my $dir = tempdir(CLEANUP => 1);
	make_path("$dir/src/catalog", "$dir/src/schema");
	my $put = sub { open my $fh, '>', "$dir/src/$_[0]" or die; print $fh $_[1]; close $fh; };
	$put->('catalog/names.h', "#define TABLE_A \"member\"\n#define TABLE_B \"frontier\"\n#define OWN_COPIED_TABLES(F, N) \\\n\tF(TABLE_A) \\\n\tN(TABLE_B)\n");
	$put->('schema/10_tables.sql', join '', map { "CREATE TABLE $_ (\n" } qw(local_node link member frontier message_secret));
	$put->('schema/95_peer_rights.sql', "GRANT SELECT ON member,\n\tfrontier TO x;\n");
	$put->('schema/60_triggers.sql', "ARRAY['local_node', 'link', 'member'] LOOP\n\tEXECUTE format('CREATE TRIGGER changed AFTER\n");
	my $teardown = "DELETE FROM replication_plugin.local_node;\nDELETE FROM replication_plugin.link;\nTRUNCATE replication_plugin.member, replication_plugin.frontier;\n";
	$put->('schema/34_teardown.sql', $teardown);
	my @bad = complaints($dir);
	die "the check finds what is right: @bad\n" if @bad;
	$put->('schema/95_peer_rights.sql', "GRANT SELECT ON member TO x;\n");
	$put->('schema/60_triggers.sql', "ARRAY['local_node', 'member'] LOOP\n\tEXECUTE format('CREATE TRIGGER changed AFTER\n");
	$put->('schema/34_teardown.sql', $teardown =~ s/, replication_plugin\.frontier//r);
	@bad = complaints($dir);
	die "the check does not find what lacks: @bad\n" unless @bad == 4;
	print "own tables: the check finds lists that differ\n";
}

if (($ARGV[0] // '') eq '--self-test') { self_test(); exit 0; }
my @bad = complaints($ARGV[0] // '.');
print "$_\n" for @bad;
print 'own tables: ', (@bad ? scalar(@bad) . " differences\n" : "all lists agree\n");
exit(@bad ? 1 : 0);
