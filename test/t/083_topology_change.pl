# The topology changes under load, without a pause: all to all, ring, star, all to all; then changes from
# all nodes in quick succession. Nothing is lost, nothing twice.
use strict;
use warnings;
use List::Util qw(shuffle);
use Load;
use Mesh;
use Test::More;
use Time::HiRes qw(time sleep);

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 1;
my $mesh = Mesh->new(4);
$mesh->make_group($Load::schema);
$mesh->wait_converged;
my @all = 1 .. $mesh->size;

sub names { return "'{" . join(',', map { "node$_" } @_) . "}'"; }
sub set
{
	my ($i, $shape, @nodes) = @_;
	$mesh->sql($i, sprintf "SELECT replication_plugin.set_topology('%s'%s)", $shape, @nodes ? ', ' . names(@nodes) : '');
}
sub end
{
	my ($name, $load) = @_;
	my $total = $load->stop;
	$mesh->wait_converged;
	$mesh->is_identical($name);
	$load->check;
	note("figures: $name: $total transactions");
}

for my $round (1 .. $rounds)
{
	my $load = Load->start($mesh, name => "changes $round", seed => $seed + $round, pause => 0.02);
	$load->wait_for_more(30);
	for my $step ([ 'ring', Mesh::ring_links(@all), @all ], [ 'star', Mesh::star_links(3, 1, 2, 4), 3, 1, 2, 4 ], [ 'all_to_all', Mesh::mesh_links(@all) ])
	{
		my ($shape, $links, @nodes) = @$step;
		my $start = time();
		set($all[ rand @all ], $shape, @nodes);
		$mesh->wait_for_links($links, under_load => 1);
		note(sprintf 'figures: %s stands after %.1f s', $shape, time() - $start);
		pass("$shape under load");
		$load->wait_for_more(30);
	}
	end("changes $round", $load);
	$mesh->wait_for_links(Mesh::mesh_links(@all));
}

# from everywhere, at random, not waiting for the one before to be known, let alone in force
my $load = Load->start($mesh, name => 'quick', seed => $seed);
for my $change (1 .. 12 * $rounds)
{
	my $shape = (qw(all_to_all ring star))[ rand 3 ];
	set($all[ rand @all ], $shape, $shape eq 'all_to_all' ? () : shuffle(@all));
	$load->wait_for_more(1 + int rand 20, $all[ rand @all ]);
}
# two at once
my @jobs = map { $mesh->start_sql($_, sprintf "SELECT replication_plugin.set_topology('ring', %s)", names(shuffle(@all))) } 1, 4;
is(($mesh->finish_sql($_))[1], '', 'a change at the same time as another') for @jobs;
end('quick changes', $load);
my $in_force = "SELECT format('%s %s', shape, nodes) FROM replication_plugin.current_topology()";
my $first = $mesh->sql(1, $in_force);
is($mesh->sql($_, $in_force), $first, "node $_ has the topology of the others: $first") for 2 .. $mesh->size;
$mesh->wait_for_links([ map { [ split ] } split /\n/, $mesh->sql(1, "SELECT provider || ' ' || subscriber FROM replication_plugin.planned_links('{}')") ]);
pass('its links stand');
set(2, 'all_to_all');
$mesh->wait_for_links(Mesh::mesh_links(@all));
pass('all to all in the end');
$mesh->sql($_, "INSERT INTO once VALUES ('end', $_)") for @all;
$mesh->wait_converged;
$mesh->is_identical('in the end');

done_testing();
