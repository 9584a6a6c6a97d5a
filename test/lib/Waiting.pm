# Tables of an ordinary role, in schema m, whose changes a node cannot apply for a while.
package Waiting;

use strict;
use warnings;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(fails hinder free waits nothing_waits);
my $as = 'SET SESSION AUTHORIZATION mallory; ';

# The function of the triggers: it fails wherever it is not the owner's session that writes.
sub fails
{
	return "CREATE OR REPLACE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN RAISE 'no way'; END IF; RETURN new; END \$\$";
}

# Changes of these tables cannot be applied on a node, until free().
sub hinder
{
	my ($mesh, $i, @tables) = @_;
	$mesh->sql($i, "$as CREATE TRIGGER t BEFORE INSERT OR UPDATE ON m.$_ FOR EACH ROW EXECUTE FUNCTION m.fails();
		ALTER TABLE m.$_ ENABLE ALWAYS TRIGGER t") for @tables;
}

sub free
{
	my ($mesh, $i, @tables) = @_;
	$mesh->sql($i, "$as DROP TRIGGER IF EXISTS t ON m.$_") for @tables;
}

# Changes of each of these tables are kept on a node: one TAP assertion for each.
sub waits
{
	my ($mesh, $i, @tables) = @_;
	ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.waiting_tables WHERE \"table\" = '$_' AND changes > 0", '1', 120),
		"table $_ waits on node $i") or show($mesh, $i) for @tables;
}

# No table waits any more: one TAP assertion for each node.
sub nothing_waits
{
	my ($mesh, $what, @nodes) = @_;
	ok($mesh->poll($_, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 180), "$what: nothing waits on node $_")
		or show($mesh, $_) for @nodes;
}

sub show
{
	my ($mesh, $i) = @_;
	diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables; SELECT provider, state, last_error FROM replication_plugin.links;
		SELECT name, progress FROM replication_plugin.nodes'));
}

1;
