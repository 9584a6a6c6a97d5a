# Random histories of one row's siblings (test/unit/sibling_tests.c), run inside one server.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(1);
my $seed = Mesh::seed();
$mesh->sql(1, "CREATE FUNCTION unit_siblings(bigint, int, text) RETURNS text AS 'unit_tests' LANGUAGE C");
my $histories = 100_000;
is($mesh->sql(1, "SELECT unit_siblings($seed, $histories, 'none')"), 'none',
	"$histories random histories: siblings are the writes that no other write has seen");

# Each rule, broken on purpose, must be missed.
for my $rule (qw(replaces keeps vector stable join young plain_stable))
{
	my $found = $mesh->sql(1, "SELECT unit_siblings(1, 100000, '$rule')");
	isnt($found, 'none', "histories miss the rule: $rule");
	note($found);
}
done_testing();
