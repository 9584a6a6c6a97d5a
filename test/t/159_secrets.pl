# Secrets, and rows of others, in everything that people other than an administrator can see, and in logs and files: with everything logged that
# PostgreSQL can log.
use strict;
use warnings;
use File::Find;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $lib = `pg_config --pkglibdir`;
chomp $lib;
my $explain = -f "$lib/auto_explain.so" ? 'auto_explain, ' : '';
my $statements = -f "$lib/pg_stat_statements.so" ? 'pg_stat_statements, ' : '';
my $mesh = Mesh->new(3, conf => <<"CONF");
shared_preload_libraries = '${explain}${statements}replication_plugin'
log_statement = all
log_min_duration_statement = 0
log_min_error_statement = debug5
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_duration = on
debug_print_plan = off
remove_temp_files_after_crash = off
replication_plugin.row_timeout = 3s
CONF
if ($explain)
{
	for my $i (1 .. 3)
	{
		$mesh->node($i)->append_conf('postgresql.conf', "auto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on\nauto_explain.log_verbose = on\nauto_explain.log_analyze = on\n");
		$mesh->node($i)->reload;
	}
}
my @secrets = qw(pw_of_node1 pw_of_node2 pw_of_node3 pw_of_via pw_of_mapping pw_of_server pw_in_body pw_of_subscription pw_wrong pw_new);

# what is written down by a server, without the statements that people have typed themselves
my @typed;
sub secret_in
{
	my ($text) = @_;
	$text = join "\n", grep { !/typed here/ } split /\n(?=\d{4}-)/, $text;
	return join(', ', grep { $text =~ /\Q$_\E/ } @secrets);
}
sub logs_are_clean
{
	my ($what) = @_;
	for my $i (1 .. 3)
	{
		my $found = secret_in(slurp_file($mesh->node($i)->logfile));
		is($found, '', "$what: no secret in the log of node $i")
			or diag(join "\n", map { substr $_, 0, 300 } grep { secret_in($_) } split /\n/, slurp_file($mesh->node($i)->logfile));
	}
}

sub files_are_clean
{
	my ($what) = @_;
	my @found;
	for my $i (1 .. 3)
	{
		find({ no_chdir => 1, wanted => sub { push @found, $_ if /pgsql_tmp/ && -f && secret_in(slurp_file($_)) || /pgsql_tmp.*replication/ && -f } }, $mesh->node($i)->data_dir);
	}
	is(join(', ', @found), '', "$what: no file is left that could have a secret");
}

# all that a role sees in what everybody may see
sub views_are_clean
{
	my ($what) = @_;
	for my $i (1 .. 3)
	{
		for my $role ('nobody', 'watcher')
		{
			my $all = '';
			for my $view (split /\n/, $mesh->sql($i, "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind IN ('v', 'r')
				AND has_table_privilege('$role', c.oid, 'SELECT') ORDER BY 1"))
			{
				my ($status, $out, $err) = $mesh->try_sql($i, "SET SESSION AUTHORIZATION $role; SELECT * FROM $view");
				$all .= "$view: $out $err\n";
			}
			my (undef, $out) = $mesh->try_sql($i, "SET SESSION AUTHORIZATION $role; SELECT pid, query FROM pg_stat_activity WHERE query !~ 'typed here'");
			$all .= $out;
			if ($statements && $role eq 'watcher')
			{
				(undef, $out) = $mesh->try_sql($i, "SELECT query FROM pg_stat_statements WHERE query !~ 'typed here'");
				$all .= $out // '';
			}
			is(secret_in($all), '', "$what: $role on node $i sees no secret");
			unlike($all, qr/row of alice/, "$what: $role on node $i sees no row of alice");
		}
	}
}

my $typed = '/* typed here */';
sub dsn { my ($i, $password) = @_; return $mesh->dsn($i) . " password=$password"; }
for my $i (1 .. 3)
{
	$mesh->sql($i, 'CREATE ROLE nobody LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor, pg_read_all_stats TO watcher; CREATE ROLE alice LOGIN');
	$mesh->sql($i, 'CREATE EXTENSION pg_stat_statements') if $statements;
}
my $fdw = -f "$lib/postgres_fdw.so";
$mesh->sql(1, "$typed SELECT replication_plugin.create_group('test', 'node1', '" . dsn(1, 'pw_of_node1') . "')");
$mesh->sql(1, $_) for "$typed CREATE SCHEMA s AUTHORIZATION alice", "$typed CREATE TABLE s.t (id int PRIMARY KEY, v text, u text)", "$typed ALTER TABLE s.t OWNER TO alice",
	"$typed INSERT INTO s.t SELECT g, 'row of alice ' || g, 'row of alice' FROM generate_series(1, 100) g",
	"$typed CREATE FUNCTION s.body() RETURNS text LANGUAGE sql AS \$\$ SELECT 'pw_in_body'::text \$\$",
	"$typed CREATE SUBSCRIPTION sub CONNECTION 'host=/nowhere password=pw_of_subscription' PUBLICATION p WITH (connect = false)",
	"$typed CREATE FOREIGN DATA WRAPPER w", "$typed CREATE SERVER srv FOREIGN DATA WRAPPER w OPTIONS (secret 'pw_of_server')",
	"$typed CREATE ROLE lonely", "$typed CREATE USER MAPPING FOR lonely SERVER srv OPTIONS (user 'x', password 'pw_of_mapping')";

# the copy of the schema fails: there is no role lonely on node 2; twice, with a kill -9 of the worker between
$mesh->sql(2, "$typed SELECT replication_plugin.join_group('node2', '" . dsn(2, 'pw_of_node2') . "', '" . dsn(1, 'pw_of_via') . "')");
ok($mesh->poll(2, "SELECT progress ~ 'lonely' FROM replication_plugin.nodes WHERE is_local"), 'the copy of the schema fails, and says why')
	or diag($mesh->sql(2, 'SELECT progress FROM replication_plugin.nodes'));
like($mesh->sql(2, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'), qr/error: .*role "lonely" does not exist.*USER MAPPING lonely SERVER srv/s, 'and of what');
views_are_clean('a failed copy of the schema');
files_are_clean('a failed copy of the schema');
my ($status, $out) = $mesh->try_sql(2, "SET SESSION AUTHORIZATION nobody; SELECT progress FROM replication_plugin.nodes WHERE is_local");
is($out, 'error: shown to members of pg_monitor', 'who may see no errors is told that there is one');
$mesh->kill_one(2, 'join');
$mesh->poll(2, 'SELECT true');
files_are_clean('kill -9 of the join worker');
$mesh->sql(2, 'CREATE ROLE lonely');
is($mesh->sql(2, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'node 2 joins');
is($mesh->sql(2, "SELECT count(*) FROM pg_user_mappings WHERE umoptions::text ~ 'pw_of_mappin'"), 1, 'with the user mapping');
$mesh->sql(3, 'CREATE ROLE lonely');
$mesh->sql(3, "$typed SELECT replication_plugin.join_group('node3', '" . dsn(3, 'pw_of_node3') . "', '" . dsn(1, 'pw_of_via') . "')");
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'node 3 joins');
$mesh->wait_for_streaming;
views_are_clean('joined');
files_are_clean('joined');
logs_are_clean('joined');

# another dsn; one that does not do
$mesh->sql(1, "$typed SELECT replication_plugin.set_node_dsn('node2', '" . dsn(2, 'pw_new') . "')");
(undef, undef, my $err) = $mesh->try_sql(1, "$typed SELECT replication_plugin.set_node_dsn('node3', '" . $mesh->dsn(3) . "0 password=pw_wrong')");
is(secret_in($err), '', 'an error has no password');
$mesh->wait_converged;

# errors of links, of the row of somebody else; a parked row whose code fails; a wait
$mesh->sql(3, "$typed ALTER TABLE s.t ADD CHECK (v <> 'row of alice 200')");
$mesh->sql(1, "$typed INSERT INTO s.t VALUES (200, 'row of alice 200', 'row of alice')");
ok($mesh->poll(3, "SELECT bool_or(last_error ~ 'violates check') FROM replication_plugin.links"), 'a link of node 3 has an error');
my $all = '';
for my $view (qw(nodes slots tables exclusions conflicts conflict_stats parked_rows unresolved))
{
	$all .= $mesh->sql(3, "SET SESSION AUTHORIZATION nobody; SELECT * FROM replication_plugin.$view");
}
unlike($all, qr/row of alice/, 'nobody sees no row of alice');
$mesh->sql(3, "$typed ALTER TABLE s.t DROP CONSTRAINT t_v_check");
$mesh->wait_converged;
logs_are_clean('at the end');
files_are_clean('at the end');
is(secret_in($mesh->sql(2, "SET SESSION AUTHORIZATION nobody; SELECT n::text FROM replication_plugin.nodes n")), '', 'nor a dsn with a password');
$mesh->is_identical('at the end');
done_testing();
