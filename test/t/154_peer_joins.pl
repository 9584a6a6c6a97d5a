# Nodes that connect as a role which is no superuser: joins, the rights that the extension keeps for it, and what is said of those that it cannot give.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2, dsn_role => 'peer');
$mesh->sql($_, "CREATE ROLE alice LOGIN; GRANT CREATE ON DATABASE app TO alice; GRANT CREATE ON SCHEMA public TO alice") for 1, 2;
$mesh->sql(1, q{SET ROLE alice;
	CREATE SCHEMA closed;
	CREATE TABLE closed.t (id serial PRIMARY KEY, v text);
	CREATE TABLE closed.parts (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
	CREATE TABLE closed.parts_0 PARTITION OF closed.parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
	CREATE TABLE public.secret (id int PRIMARY KEY, v text);
	CREATE TABLE public.mine (id int PRIMARY KEY, who text);
	ALTER TABLE public.mine ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON public.mine USING (who = current_user);
	CREATE SEQUENCE closed.free START 1000;
	CREATE FUNCTION closed.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT count(*)::int FROM closed.t; END;
	CREATE FUNCTION closed.g() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
\restrict me
	RETURN 'x';
END $$;
	CREATE MATERIALIZED VIEW closed.m AS SELECT 1 AS one;
	INSERT INTO closed.t (v) SELECT 'v' || g FROM generate_series(1, 100) g;
	INSERT INTO closed.parts SELECT g, 'v' FROM generate_series(1, 100) g;
	INSERT INTO public.secret VALUES (1, 'secret');
	INSERT INTO public.mine VALUES (1, 'alice'), (2, 'bob');
	SELECT nextval('closed.free') FROM generate_series(1, 5)} =~ s/\\restrict me/-- \\restrict me/r);
my $peer = sub { my ($i, $what) = @_; return $mesh->sql($i, "SELECT has_table_privilege('replication_plugin_peer', '$what', 'SELECT')"); };
my @all = ('closed.t', 'closed.parts', 'closed.parts_0', 'mine');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('secret')");

subtest 'a group is made' => sub {
	$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
	is($peer->(1, $_), 't', "peers may read $_") for @all;
	is($peer->(1, 'secret'), 'f', 'not what is excluded');
	is($mesh->sql(1, q{SELECT has_schema_privilege('replication_plugin_peer', 'closed', 'USAGE')}), 't', 'and may use the schema');
	is($mesh->sql(1, q{SELECT string_agg(DISTINCT (a.grantor::regrole)::text, ' ') FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'replication_plugin_peer'::regrole
		AND c.relname IN ('t', 'parts', 'parts_0', 'mine')}), 'alice', 'by a grant of the owner');
};

subtest 'what a role lacks is named, and each fix works' => sub {
	my $join = sprintf("SELECT replication_plugin.join_group('node2', '%s', '%s')", $mesh->dsn(2), $mesh->dsn(1));
	my %seen;
	for my $try (1 .. 5)
	{
		my ($status, $out, $err) = $mesh->try_sql(2, $join);
		last if $status == 0;
		my ($fix) = $err =~ /HINT:  There: (.*?)\. Or give a superuser's dsn/;
		ok($fix, "refused: $err") or last;
		my ($verb) = $fix =~ /^(\S+ \S+)/;
		ok(!$seen{$fix}++, 'something else each time') or last;
		$mesh->sql(1, $fix);
	}
	is(CORE::join('; ', sort keys %seen), 'ALTER ROLE node_peer BYPASSRLS; GRANT SELECT ON public.secret TO node_peer', 'row security, and a table that is not replicated');
	is($mesh->sql(2, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'then the node joins');
	$mesh->wait_for_streaming;
	is($mesh->sql(2, 'SELECT count(*) FROM closed.t') . ' ' . $mesh->sql(2, 'SELECT count(*) FROM closed.parts') . ' ' . $mesh->sql(2, 'SELECT count(*) FROM mine'), '100 100 2',
		'with all rows, those behind a policy too');
	is($mesh->sql(2, 'SELECT count(*) FROM secret'), 0, 'without those of an excluded table');
	is($mesh->sql(2, q{SELECT last_value FROM closed.t_id_seq}) . ' ' . $mesh->sql(2, q{SELECT nextval('closed.free')}), '100 1005', 'and the sequences');
	is($mesh->sql(2, 'SELECT one FROM closed.m') . $mesh->sql(2, 'SELECT closed.f()'), '1100', 'a materialized view is filled, a function there');
	is($mesh->sql(2, q{SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE schemaname = 'closed'}), 'alice', 'tables have their owner');
	is($peer->(2, $_), 't', "peers may read $_ there") for @all;
	my $rights = q{SELECT string_agg(concat_ws(' ', requirement, ok, detail, fix), '; ') FROM replication_plugin.preflight() WHERE requirement ~ '^rights' AND NOT ok};
	is($mesh->sql(1, $rights), 'rights on node node2 f row security hides rows of public.mine from role "node_peer", and all rows are copied ALTER ROLE node_peer BYPASSRLS',
		'preflight() of another node');
	is($mesh->sql(2, $rights) =~ s/ row.*//r, 'rights f', 'and of the same one, there');
	$mesh->sql(2, 'ALTER ROLE node_peer BYPASSRLS');
	is($mesh->sql($_, $rights), '', "with that fix node $_ has nothing to say") for 1, 2;
};

subtest 'rights are kept' => sub {
	my $as_alice = sub { $mesh->sql(1, "SET SESSION AUTHORIZATION alice; $_[0]") };
	$as_alice->('REVOKE ALL ON closed.t FROM replication_plugin_peer');
	is($peer->(1, 'closed.t'), 't', 'after a REVOKE of the owner');
	$as_alice->('REVOKE ALL ON ALL TABLES IN SCHEMA closed FROM replication_plugin_peer; REVOKE ALL ON SCHEMA closed FROM replication_plugin_peer');
	is($peer->(1, 'closed.parts'), 't', 'of all tables of a schema');
	is($mesh->sql(1, q{SELECT has_schema_privilege('replication_plugin_peer', 'closed', 'USAGE')}), 't', 'and of the schema');
	$mesh->sql(1, 'DROP OWNED BY replication_plugin_peer');
	is($peer->(1, 'closed.parts_0'), 't', 'after DROP OWNED');
	$as_alice->('CREATE SCHEMA later; CREATE TABLE later.n (id int PRIMARY KEY)');
	is($peer->(1, 'later.n') . $mesh->sql(1, q{SELECT has_schema_privilege('replication_plugin_peer', 'later', 'USAGE')}), 'tt', 'a new table of a new schema');
	$as_alice->('ALTER TABLE later.n SET SCHEMA closed');
	is($peer->(1, 'closed.n'), 't', 'a table that moves');
	$mesh->sql(1, "SELECT replication_plugin.exclude_table('closed.n')");
	is($peer->(1, 'closed.n'), 'f', 'excluded: taken back');
	$mesh->sql(1, "SELECT replication_plugin.include_table('closed.n')");
	is($peer->(1, 'closed.n'), 't', 'included: given again');
	$mesh->sql(1, "SELECT replication_plugin.exclude_tables('closed', 'n*')");
	ok($mesh->poll(1, q{SELECT has_table_privilege('replication_plugin_peer', 'closed.n', 'SELECT')}, 'f'), 'by a rule, too');
	$as_alice->('DROP TABLE closed.n; DROP SCHEMA later');
};

subtest 'event triggers of others hear nothing of it' => sub {
	$mesh->sql(1, q{CREATE TABLE public.heard (what text); SELECT replication_plugin.exclude_table('heard'); GRANT ALL ON heard TO PUBLIC;
		CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO public.heard SELECT tg_event || ' ' || tg_tag || ' ' || current_user || ' ' || string_agg(command_tag, ',') FROM pg_event_trigger_ddl_commands(); END $$;
		CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION public.note()});
	$mesh->sql(1, 'SET SESSION AUTHORIZATION alice; CREATE TABLE closed.e (id int PRIMARY KEY); REVOKE ALL ON closed.e FROM replication_plugin_peer');
	is($peer->(1, 'closed.e'), 't', 'a right was given');
	is($mesh->sql(1, 'SELECT count(*) FROM heard WHERE what NOT LIKE $$% alice %$$ OR what ~ $$GRANT$$'), 0, 'nothing was heard as superuser, and no GRANT');
	cmp_ok($mesh->sql(1, 'SELECT count(*) FROM heard'), '>', 0, 'but the owner\'s own commands');
	$mesh->sql(1, 'DROP EVENT TRIGGER note; DROP FUNCTION note(); DROP TABLE heard; DROP TABLE closed.e');
};

subtest 'taken back' => sub {
	$mesh->sql(2, 'SELECT replication_plugin.leave_group()');
	is($mesh->sql(2, q{SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = 'replication_plugin_peer'::regrole AND c.relnamespace <> 'replication_plugin'::regnamespace}), 0,
		'by leave_group()');
	is($mesh->sql(2, q{SELECT count(*) FROM pg_namespace c, aclexplode(c.nspacl) a WHERE a.grantee = 'replication_plugin_peer'::regrole AND nspname <> 'replication_plugin'}), 0, 'of schemas as well');
	$mesh->sql(2, 'GRANT SELECT ON closed.t TO replication_plugin_peer; DROP EXTENSION replication_plugin; DROP OWNED BY node_peer; DROP ROLE node_peer');
	is($mesh->sql(2, 'DROP ROLE replication_plugin_peer, replication_plugin_admin, replication_plugin_monitor'), '', 'after DROP EXTENSION the roles can go');
};
done_testing();
