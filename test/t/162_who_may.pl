# The table "Who may do what" of docs/security.md, cell by cell: each "yes" and "no" is tried as a role of that kind.
use strict;
use warnings;
use File::Basename;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(1, dsn_role => 'superuser');
$mesh->make_group(<<'SQL');
CREATE ROLE everybody LOGIN;
CREATE ROLE owner LOGIN;
CREATE ROLE monitor LOGIN IN ROLE replication_plugin_monitor;
CREATE ROLE sees LOGIN IN ROLE pg_monitor;
CREATE ROLE admin LOGIN IN ROLE replication_plugin_admin;
CREATE ROLE peer LOGIN REPLICATION IN ROLE replication_plugin_peer;
CREATE ROLE super LOGIN SUPERUSER;
CREATE SCHEMA m AUTHORIZATION owner;
GRANT USAGE ON SCHEMA m TO PUBLIC; -- else nobody could name the table
SET SESSION AUTHORIZATION owner;
CREATE TABLE m.t (id int PRIMARY KEY, v text);
SQL

# by words of the row's first cell: what is tried; each statement by itself
my %tried = (
	'conflict_stats' => [ map { "SELECT * FROM replication_plugin.$_" } qw(nodes slots tables exclusions group_settings conflict_stats) ],
	'parked_rows' => [],
	'wait_for_apply' => [ 'SELECT replication_plugin.wait_for_apply()', q{SELECT replication_plugin.wait_for_context('')}, 'SELECT replication_plugin.causal_context()' ],
	'resolve()' => [],
	'progress' => [ map { "SELECT * FROM replication_plugin.$_" } qw(links progress topology) ],
	'nodes removed' => [ map { "SELECT replication_plugin.$_" } q{set_topology('all_to_all')}, q{add_link('a', 'b')}, q{drop_link('a', 'b')}, q{pause_link('a')}, q{resume_link('a')},
		q{skip_transaction('a', '0/1')}, q{remove_node('a')}, 'cancel_leave()', q{set_group_setting('keyless_tables', 'refuse')}, 'finish_upgrade()', q{exclude_table('m.t')}, q{include_table('m.t')},
		q{exclude_tables('none', 'none')}, q{include_tables('none', 'none')}, q{discard_kept_changes('a', 'b')}, 'preflight()' ],
	'create_group' => [ map { "SELECT replication_plugin.$_" } q{create_group('a', 'b', 'c')}, q{join_group('a', 'b', 'c')}, q{set_node_dsn('a', 'b')}, 'rejoin()' ],
	'policies' => [ map { "SELECT replication_plugin.$_" } q{set_conflict_policy('m.t', 'last_write_wins')}, q{set_column_merge('m.t', 'v', 'last_write_wins')}, q{resend_table('m.t')} ],
	'rows of replicated tables, read' => ['SELECT * FROM m.t'],
	'tables of schema replication_plugin, written' => [ map { ("DELETE FROM replication_plugin.$_", "INSERT INTO replication_plugin.$_ DEFAULT VALUES") }
		split /\n/, $mesh->sql(1, q{SELECT relname FROM pg_class WHERE relnamespace = 'replication_plugin'::regnamespace AND relkind = 'r'}) ],
);
my @roles = ([ 'everybody' ], [ 'owner' ], [ 'monitor', 'sees' ], [ 'admin' ], [ 'peer' ], [ 'super' ]);

my $text = slurp_file(dirname(__FILE__) . '/../../docs/security.md');
my ($table) = $text =~ /## Who may do what\n\n(.*?)\n\n/s or die 'no table in docs/security.md';
my @rows = map { [ map { s/^\s+|\s+$//gr } split /\|/, s/^\|//r ] } (split /\n/, $table)[ 2 .. (() = $table =~ /\n/g) ];
my $cells = 0;
for my $row (@rows)
{
	my ($what, @cells) = @$row;
	my ($key) = grep { index($what, $_) >= 0 } sort { length $b <=> length $a } keys %tried;
	ok($key, "the row \"$what\" is known here") or next;
	is(scalar @cells, scalar @roles, 'a cell for each kind of role');
	for my $c (0 .. $#roles)
	{
		next unless $cells[$c] =~ /^(yes|no)$/;
		my @wrong;
		for my $role (@{ $roles[$c] })
		{
			for my $sql (@{ $tried{$key} })
			{
				# rolled back; other errors tell that he may
				my ($status, undef, $err) = $mesh->try_sql(1, "SET SESSION AUTHORIZATION $role; BEGIN; $sql; ROLLBACK");
				my $denied = $err =~ /permission denied|must be superuser|must be owner/ ? 'no' : 'yes';
				push @wrong, "$role: $denied: $sql" if $denied ne $cells[$c];
				$cells++;
			}
		}
		is(CORE::join("\n", @wrong), '', "$cells[$c]: @{ $roles[$c] }: $what");
	}
}
cmp_ok($cells, '>', 150, "$cells cells and statements tried");
done_testing();
