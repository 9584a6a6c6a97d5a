# Two roles try what they can, under load by others, on two nodes of three: one that may only connect, and one that may create things in a schema. In the end all
# links stream, everybody else's rows are the same on all nodes, nobody has gained anything, nothing has crashed. HOSTILE_SECONDS: how long (60).
use strict;
use warnings;
use Hostile;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{HOSTILE_SECONDS} || 60;
my $mesh = Mesh->new(3, conf => <<'CONF');
max_prepared_transactions = 10
max_connections = 150
replication_plugin.table_patience = 2s
replication_plugin.row_timeout = 1s
CONF
for my $i (1 .. 3)
{
	$mesh->sql($i, 'CREATE ROLE caller LOGIN; CREATE ROLE maker LOGIN; CREATE ROLE honest LOGIN; REVOKE ALL ON DATABASE app FROM PUBLIC; GRANT CONNECT ON DATABASE app TO caller, maker, honest; GRANT TEMPORARY ON DATABASE app TO maker, caller');
}
$mesh->make_group(<<'SQL');
CREATE TABLE bank (id int PRIMARY KEY, v text, n int DEFAULT 0);
ALTER TABLE bank OWNER TO honest;
INSERT INTO bank SELECT g, 'start' FROM generate_series(1, 200) g;
CREATE TABLE wiki (id int PRIMARY KEY, v text, n int UNIQUE);
ALTER TABLE wiki OWNER TO honest;
CREATE SCHEMA secret AUTHORIZATION honest;
CREATE TABLE secret.rows (id int PRIMARY KEY, v text);
ALTER TABLE secret.rows OWNER TO honest;
INSERT INTO secret.rows SELECT g, 'secret row ' || g FROM generate_series(1, 50) g;
CREATE SCHEMA h;
GRANT USAGE, CREATE ON SCHEMA h TO maker;
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings')");
$mesh->sql(1, "INSERT INTO wiki SELECT g, 'start', g FROM generate_series(1, 50) g");
$mesh->wait_converged;

# ---------- what must be the same afterwards ----------

my %gains = (
	roles => 'SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolinherit, md5(rolpassword) FROM pg_authid',
	members => 'SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members',
	databases => 'SELECT datname, datdba::regrole, datacl, datconnlimit FROM pg_database',
	# (the extension lets other nodes into the schema of a table)
	schemas => "SELECT nspname, nspowner::regrole, replace(nspacl::text, ',replication_plugin_peer=U/' || nspowner::regrole, '') FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'",
	relations => "SELECT oid::regclass, relowner::regrole, relacl, relrowsecurity, relkind FROM pg_class WHERE relowner NOT IN ('maker'::regrole, 'caller'::regrole)
		AND relnamespace <> 'pg_toast'::regnamespace AND relkind <> 'I' AND relkind <> 'i'",
	columns => "SELECT attrelid::regclass, attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL",
	functions => "SELECT oid::regprocedure, proowner::regrole, proacl, prosecdef, proconfig, md5(prosrc), probin FROM pg_proc WHERE proowner NOT IN ('maker'::regrole, 'caller'::regrole)
		AND (pronamespace <> 'h'::regnamespace OR prosecdef)",
	triggers => "SELECT g.tgrelid::regclass, regexp_replace(g.tgname, '_[0-9]+\$', ''), g.tgenabled, g.tgfoid::regproc FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid WHERE c.relowner NOT IN ('maker'::regrole, 'caller'::regrole)",
	'event triggers' => 'SELECT evtname, evtenabled, evtowner::regrole FROM pg_event_trigger',
	policies => "SELECT p.polname, p.polrelid::regclass FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relowner NOT IN ('maker'::regrole, 'caller'::regrole)",
	extensions => 'SELECT extname, extowner::regrole, extversion, extnamespace::regnamespace FROM pg_extension',
	settings => "SELECT setdatabase, setrole::regrole, setconfig FROM pg_db_role_setting WHERE setrole NOT IN ('maker'::regrole, 'caller'::regrole)",
	'default rights' => "SELECT defaclrole::regrole, defaclnamespace::regnamespace, defaclacl FROM pg_default_acl WHERE defaclrole NOT IN ('maker'::regrole, 'caller'::regrole)",
	others => 'SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_foreign_server), (SELECT count(*) FROM pg_tablespace), (SELECT count(*) FROM pg_language), (SELECT count(*) FROM pg_am)',
	start => 'SELECT pg_postmaster_start_time()',
	members_of_group => 'SELECT node_id, node_name, dsn FROM replication_plugin.member',
	slots => "SELECT slot_name, plugin FROM pg_replication_slots",
	origins => "SELECT roname FROM pg_replication_origin WHERE position('\@' IN roname) = 0",
	secret => 'SELECT md5(secret) FROM replication_plugin.message_secret',
	hidden => "SELECT count(*), md5(string_agg(x::text, ',' ORDER BY id)) FROM secret.rows x",
);
sub state_of
{
	my ($i) = @_;
	return { map { $_ => $mesh->sql($i, "SELECT x::text FROM ($gains{$_}) x ORDER BY 1") } keys %gains };
}
my @before = (undef, map { state_of($_) } 1 .. 3);

# ---------- the statements ----------

my @public = map { my ($name, @types) = split /\|/; [ "replication_plugin.$name", [ map { split /;/ } @types ] ] }
	split /\n/, $mesh->sql(1, "SELECT p.proname, array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u(t, o) ORDER BY o), ';') FROM pg_proc p
		WHERE p.pronamespace = 'replication_plugin'::regnamespace AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype ORDER BY p.oid::regprocedure::text");
my @relations = split /\n/, $mesh->sql(1, "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY 1");
my @settings = map { s/^replication_plugin\.//r } split /\n/, $mesh->sql(1, "SELECT name FROM pg_settings WHERE name LIKE 'replication_plugin.%' ORDER BY 1");
my @common;
for my $i (1, 2)
{
	my @slots = split /\n/, $mesh->sql($i, "SELECT slot_name FROM pg_replication_slots ORDER BY 1");
	my @origins = split /\n/, $mesh->sql($i, "SELECT roname FROM pg_replication_origin WHERE position('\@' IN roname) = 0 ORDER BY 1");
	push @common, [ Hostile::connecting(slots => \@slots, origins => \@origins, settings => \@settings), Hostile::calls(@public), Hostile::relations(@relations) ];
}
my %kinds;
$kinds{ $_->[0] }++ for @{ $common[0] }, Hostile::creating(1);
note("$_: $kinds{$_} statements") for sort keys %kinds;
cmp_ok(scalar @{ $common[0] }, '>=', 200, 'statements of who may only connect: ' . @{ $common[0] });
my @creating = Hostile::creating(1);
cmp_ok(scalar @creating, '>=', 100, 'and more of who may create things: ' . @creating);

# A process that runs lists of statements, again and again until the time is over. One that is refused, or ends the session, is followed by the next.
my $dir = PostgreSQL::Test::Utils::tempdir();
my $deadline = time + $seconds;
my $children = 0;
sub hostile
{
	my ($i, $role, $lists) = @_;
	my $number = ++$children;
	my $pid = fork() // die;
	return $pid if $pid;
	my $rounds = 0;
	while (time < $deadline)
	{
		my @list = @{ $lists->(++$rounds) };
		while (@list && time < $deadline)
		{
			# a session for every hundred
			my @part = splice @list, 0, 100;
			my $sql = "SET statement_timeout = '2s';\n" . join '', map { "$_->[1];\nROLLBACK;\n" } @part;
			open my $fh, '>', "$dir/$number.sql" or die;
			print $fh $sql;
			close $fh;
			system(sprintf q{timeout 60 psql -XqAt -d 'host=%s port=%s dbname=app user=%s' -f %s/%d.sql >> %s/%d.out 2>&1}, $mesh->node($i)->host, $mesh->node($i)->port, $role, $dir, $number, $dir, $number);
		}
	}
	open my $fh, '>', "$dir/$number.rounds";
	print $fh $rounds;
	close $fh;
	require POSIX;
	POSIX::_exit(0);
}

my @load = $mesh->start_load("\\set id random(1, 200)\n\\set w random(1, 50)\nBEGIN;\nUPDATE bank SET v = 'node ' || :side || ' ' || clock_timestamp(), n = n + 1 WHERE id = :id;\nEND;\nUPDATE wiki SET v = v || :side WHERE id = :w AND length(v) < 200;\n", 10, 1 .. 3);
my @pids;
my $number = 0;
for my $i (1, 2)
{
	my $list = $common[ $i - 1 ];
	push @pids, hostile($i, 'caller', sub { $list });
	push @pids, hostile($i, 'maker', sub { my ($n) = @_; [ Hostile::creating("${i}_$n") ] });
	push @pids, hostile($i, 'maker', sub { my ($n) = @_; [ reverse(Hostile::creating("${i}_r$n")), @$list ] });
	# many who wait
	push @pids, map { hostile($i, 'caller', sub { [ map { ['waits', "SELECT replication_plugin.wait_for_apply('500 ms')"] } 1 .. 50 ] }) } 1 .. 8;
}
waitpid $_, 0 for @pids;
$mesh->stop_load(@load);
my $tried = 0;
for my $f (glob "$dir/*.rounds") { $tried += slurp_file($f); }
note("rounds of all processes: $tried");

# ---------- afterwards ----------

for my $i (1 .. 3)
{
	$mesh->sql($i, "ROLLBACK PREPARED '$_'") for split /\n/, $mesh->sql($i, 'SELECT gid FROM pg_prepared_xacts');
	$mesh->sql($i, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('maker', 'caller')");
}
for my $i (1 .. 3)
{
	ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'", 2), "node $i: all links stream")
		or diag($mesh->sql($i, 'SELECT provider, state, waits_for, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
}
$mesh->sql($_, "INSERT INTO bank VALUES (1000 + $_, 'at the end')") for 1 .. 3;
$mesh->wait_converged;
for my $table ('bank', 'wiki', 'secret.rows')
{
	my @rows = map { $mesh->sql($_, "SELECT count(*) || ' ' || md5(string_agg(x::text, '|' ORDER BY id)) FROM $table x") } 1 .. 3;
	is($rows[1], $rows[0], "$table: the same rows on nodes 1 and 2");
	is($rows[2], $rows[0], "$table: the same rows on nodes 1 and 3");
}
$mesh->is_same_siblings('wiki', 'wiki');
is($mesh->sql(2, "SELECT count(*) FROM bank WHERE v = 'at the end'"), 3, 'what was written at the end is there');
is($mesh->sql(1, "SELECT string_agg(state, ',') FROM replication_plugin.nodes"), 'ready,ready,ready', 'nobody has been sent away');
for my $i (1 .. 3)
{
	my $after = state_of($i);
	for my $what (sort keys %gains)
	{
		is($after->{$what}, $before[$i]{$what}, "node $i: $what as before");
	}
	my $log = slurp_file($mesh->node($i)->logfile);
	unlike($log, qr/terminated by signal|PANIC:|TRAP:|server process .* was terminated|all server processes terminated/, "node $i: no process has died");
	is($mesh->sql($i, "SELECT count(*) FROM replication_plugin.tables WHERE out_of_step AND \"table\"::text !~ '^h[.]'"), 0, "node $i: no table of others is out of step");
	note("node $i: " . $mesh->sql($i, 'SELECT count(*) FROM replication_plugin.waiting_tables') . ' tables wait; ' . $mesh->sql($i, 'SELECT string_agg(restarts::text, \', \') FROM replication_plugin.links') . ' restarts of links');
}
# what they saw
my $seen = join '', map { slurp_file($_) } glob "$dir/*.out";
unlike($seen, qr/secret row/, 'nobody has seen rows of others');
unlike($seen, qr/password=/, 'nor a password');
my %errors;
$errors{$1}++ while $seen =~ /ERROR:  (XX\d\d\d|could not (?:open|read|find)[^\n]*|cache lookup[^\n]*|unexpected[^\n]*|invalid memory[^\n]*)/g;
note("$errors{$_} times: $_") for sort keys %errors;
done_testing();
