# The examples of docs/conflicts.md, as they stand there.
use strict;
use warnings;
use File::Basename;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('docs', 'tokyo', '%s')", $mesh->dsn(1)));
$mesh->sql(2, sprintf("SELECT replication_plugin.join_group('paris', '%s', '%s')", $mesh->dsn(2), $mesh->dsn(1)));
is($mesh->sql(2, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'paris joins');
$mesh->wait_for_streaming;

# Writes that wait for their counterpart: they are made at the same time.
my %concurrent;
sub write_concurrent
{
	return unless %concurrent;
	$mesh->pause_all;
	$mesh->sql($_, $concurrent{$_}) for sort keys %concurrent;
	$mesh->resume_all;
	%concurrent = ();
}

my ($part, $shown) = ('', 0);
for my $line (split /\n/, slurp_file(dirname(__FILE__) . '/../../docs/conflicts.md'))
{
	$part = $1 if $line =~ /^## (.*)/;
	next unless $part =~ /^(Which policy for which data|Unique keys and exclusion constraints)$/ && $line =~ /^    (.*?;)\s*(?:-- (.*))?$/;
	my ($sql, $note) = ($1, $2 // '');
	if ($note eq 'tokyo' || $note eq 'paris')
	{
		$concurrent{ $note eq 'tokyo' ? 1 : 2 } = $sql;
		next;
	}
	write_concurrent();
	if ($note eq 'everywhere')
	{
		$mesh->all_sql($sql);
	}
	elsif ($note =~ /^shows (.*)/)
	{
		my $expected = $1;
		for my $i (1, 2)
		{
			# what is parked comes back a moment later
			my $out = '';
			my $deadline = time() + 60;
			for (;;)
			{
				($out = $mesh->sql($i, $sql)) =~ s/\n/ /g;
				last if $out eq $expected || time() > $deadline;
				select undef, undef, undef, 0.1;
			}
			is($out, $expected, "node $i: $sql");
		}
		$shown++;
	}
	else
	{
		my ($status, $out, $err) = $mesh->try_sql(1, $sql);
		is($status, 0, $sql) or diag($err);
		$mesh->wait_converged;
	}
}
cmp_ok($shown, '>=', 17, 'there are examples');
$mesh->is_identical('after all examples');
done_testing();
