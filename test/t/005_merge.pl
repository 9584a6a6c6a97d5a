# Columns that merge: unit tests of src/model/merge.h (test/unit/merge_*.c), run inside one server.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(1);
my $seed = Mesh::seed();
$mesh->sql(1, <<'SQL');
CREATE FUNCTION unit_merge_history(bigint, int, text) RETURNS text AS 'unit_tests' LANGUAGE C;
CREATE FUNCTION unit_merge() RETURNS int AS 'unit_tests' LANGUAGE C;
CREATE FUNCTION unit_merge_garbage(bigint, int) RETURNS int AS 'unit_tests' LANGUAGE C;
SQL
cmp_ok($mesh->sql(1, 'SELECT unit_merge()'), '>', 100, 'counters, sets, maps, columns case by case');
cmp_ok($mesh->sql(1, "SELECT unit_merge_garbage($seed, 100000)"), '>', 20000, '100000 spoilt ops and states are read or refused, none crashes');

# Random histories. A failure tells the seed of the history.
my $histories = $ENV{ROUNDS} || 100_000;
my ($status, $out, $err) = $mesh->try_sql(1, "SELECT unit_merge_history($seed, $histories, 'none')");
ok($status == 0 && $out =~ /^\d+ histories/, "$histories random histories show what they should") or diag($err);
note("figures $out");

# Each rule, broken on purpose, must be missed.
for my $rule (qw(vector vector_ahead vector_forgotten unchanged keep resolve causal clock forget_dots forget_row forget_totals
	forget_delete trim stable rewrite plain))
{
	my $found = $mesh->sql(1, "SELECT unit_merge_history(1, 40000, '$rule')");
	isnt($found, 'none', "histories miss the rule: $rule");
	note("figures $rule: $found");
}
done_testing();
