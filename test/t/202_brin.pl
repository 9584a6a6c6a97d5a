# BRIN indexes on tables that a worker writes in many transactions of its life. Since PostgreSQL 17, such an index keeps pages pinned in what
# the worker keeps of it, and the pins end with the transaction: a worker that goes on with them gives back what it has not, and the server tells of
# "resource was not closed". Links, the park worker and copying write here; and BRIN indexes find what they write.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.table_patience = 1s\n");
$mesh->all_sql('CREATE ROLE keeper');
$mesh->make_group(<<'SQL');
CREATE TABLE b (id int PRIMARY KEY, u int UNIQUE, n int, t text, p point DEFAULT '(0,0)', at timestamptz DEFAULT now()) WITH (fillfactor = 70);
ALTER TABLE b OWNER TO keeper;
CREATE INDEX b_minmax ON b USING brin (n) WITH (pages_per_range = 1, autosummarize = on);
CREATE INDEX b_multi ON b USING brin (at timestamptz_minmax_multi_ops, n int4_minmax_multi_ops) WITH (pages_per_range = 2, autosummarize = off);
CREATE INDEX b_bloom ON b USING brin (t text_bloom_ops) WITH (pages_per_range = 1);
CREATE INDEX b_expression ON b USING brin ((n + 1)) WITH (pages_per_range = 1) WHERE n >= 0;
CREATE TABLE keyless (n int, t text);
CREATE INDEX ON keyless USING brin (n) WITH (pages_per_range = 1);
CREATE TABLE part (id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (1000);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (1000) TO (100000);
CREATE INDEX ON part USING brin (n) WITH (pages_per_range = 1);
INSERT INTO b SELECT g, -g, g, repeat('start ', 20) FROM generate_series(1, 500) g;
INSERT INTO part SELECT g, g FROM generate_series(1, 500) g;
SELECT brin_summarize_new_values(i) FROM unnest(ARRAY['b_minmax', 'b_multi', 'b_bloom', 'b_expression', 'keyless_n_idx', 'part1_n_idx', 'part2_n_idx']::regclass[]) i;
SQL
$mesh->wait_converged;
my @brin = split /\n/, $mesh->sql(2, "SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'brin' AND c.relkind = 'i' AND c.relnamespace = 'public'::regnamespace ORDER BY 1");
is(scalar @brin, 7, 'BRIN indexes are on the other node too') or diag("@brin");
$mesh->sql(2, "SELECT brin_summarize_new_values('$_')") for @brin;

my $bad = qr/TRAP:|PANIC:|terminated by signal|resource was not closed|leak|is not owned by resource owner|bad buffer ID/;
sub is_clean
{
	my ($what) = @_;
	for my $i (1 .. $mesh->size)
	{
		my @lines = grep { $_ =~ $bad } split /\n/, PostgreSQL::Test::Utils::slurp_file($mesh->node($i)->logfile);
		is(scalar @lines, 0, "$what: the log of node $i tells of no leaks") or diag(join "\n", grep { defined } @lines[0 .. 4]);
	}
}
sub worker { return $mesh->sql(2, "SELECT coalesce(string_agg(pid::text, ' '), 'none') FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin $_[0]%'"); }

# What BRIN indexes find is what is there.
my @found = map { "SELECT count(*) FROM $_" } 'b WHERE n >= 1000', 'b WHERE n BETWEEN 10 AND 20', 'b WHERE n + 1 > 1000 AND n >= 0', "b WHERE t = 'changed'",
	'keyless WHERE n > 5', 'part WHERE n > 1000', "b WHERE at > '2100-01-01'";
sub finds
{
	my ($what) = @_;
	for my $i (1 .. $mesh->size)
	{
		my ($by_index, $by_table) = map { $mesh->node($i)->safe_psql('app', join ";\n", $_, @found) }
			'SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off', 'SET enable_indexscan = off; SET enable_bitmapscan = off';
		is($by_index, $by_table, "$what: BRIN indexes find what is there on node $i");
	}
}

# a link, in many transactions: inserts of one row and of many, updates that touch only columns with BRIN indexes, and all others
my $before = worker('link');
for my $k (1 .. 15)
{
	my ($from, $to) = (1000 * $k, 1000 * $k + 60);
	$mesh->sql(1, $_) for "INSERT INTO b SELECT g, -g, g, 'new' FROM generate_series($from, $to) g",
		"INSERT INTO b VALUES ($k + 900, -$k - 900, $k, 'one')",
		"UPDATE b SET n = n + 5000 WHERE id = $k",
		"UPDATE b SET t = 'changed', at = '2200-01-01' WHERE id BETWEEN $from AND $from + 5",
		"UPDATE b SET u = u - 100000 WHERE id = $from + 10",
		"DELETE FROM b WHERE id = $from + 20",
		"BEGIN; INSERT INTO keyless SELECT g, repeat('x', 200) FROM generate_series(1, 10) g; INSERT INTO part VALUES ($from, $from), ($k + 600, $from); UPDATE part SET id = id + 20000 WHERE id = $k; COMMIT";
}
$mesh->wait_converged;
is(worker('link'), $before, 'all by one link worker');
$mesh->is_identical('transactions of a link');
finds('a link');
is_clean('a link');

# nothing that is pinned or locked is left over
$mesh->sql(2, "SELECT brin_desummarize_range('$_', 0), brin_summarize_new_values('$_')") for @brin;
ok(($mesh->try_alone(2, "SET lock_timeout = '20s'; VACUUM FREEZE b"))[0] == 0, 'VACUUM of the table');
is($mesh->sql(2, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type LIKE 'replication_plugin link%' AND l.relation IN ('b'::regclass, 'part1'::regclass)"), 0, 'no locks of the link');
finds('after VACUUM');

# the park worker: rows that contest a place come back, one after the other
$mesh->concurrently([ 1, "INSERT INTO b SELECT g, 7000000 + g, g, 'older' FROM generate_series(50001, 50030) g" ],
	[ 2, "INSERT INTO b SELECT g + 100, 7000000 + g, g, 'newer' FROM generate_series(50001, 50030) g" ]);
is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.parked_rows'), 30, 'rows are parked');
for my $k (1 .. 10)
{
	my ($from, $to) = (50000 + 3 * $k - 2, 50000 + 3 * $k);
	$mesh->sql(2, "DELETE FROM b WHERE id BETWEEN $from + 100 AND $to + 100");
	$mesh->poll($_, "SELECT count(*) FROM b WHERE t = 'older'", 3 * $k, 60) for 1, 2;
}
$mesh->wait_converged;
is($mesh->sql($_, "SELECT count(*) FROM b WHERE t = 'older'"), 30, "all come back on node $_") for 1, 2;
$mesh->is_identical('the park worker');
finds('the park worker');
is_clean('the park worker');

# changes that are kept while the table waits, as it is not a superuser's, and are applied by the park worker
$mesh->sql(2, <<'SQL');
CREATE SCHEMA local;
CREATE TABLE local.hurdle (id int);
GRANT USAGE ON SCHEMA local TO keeper;
GRANT SELECT ON local.hurdle TO keeper;
SELECT replication_plugin.exclude_table('local.hurdle');
CREATE FUNCTION local.hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF EXISTS (SELECT FROM local.hurdle) THEN RAISE EXCEPTION 'a hurdle'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER hinder BEFORE INSERT OR UPDATE ON b FOR EACH ROW EXECUTE FUNCTION local.hinder();
ALTER TABLE b ENABLE ALWAYS TRIGGER hinder;
INSERT INTO local.hurdle VALUES (1);
SQL
$mesh->sql(1, "INSERT INTO b SELECT g, -g, g, 'kept' FROM generate_series(60000 + 10 * $_, 60009 + 10 * $_) g") for 1 .. 20;
ok($mesh->poll(2, "SELECT changes > 0 FROM replication_plugin.waiting_tables WHERE \"table\" LIKE '%b'", 't', 60), 'changes are kept');
$mesh->sql(2, 'DELETE FROM local.hurdle');
ok($mesh->poll(2, "SELECT count(*) FROM b WHERE t = 'kept'", 200, 60), 'and applied');
$mesh->wait_converged;
$mesh->is_identical('kept changes');
finds('kept changes');
is_clean('kept changes');

# a node that joins gets rows by copying
$mesh->add_server;
$mesh->sql(3, 'CREATE ROLE keeper');
$mesh->join(3);
$mesh->sql(1, "UPDATE b SET n = n + 1 WHERE id = $_") for 1 .. 10;
$mesh->wait_converged;
$mesh->is_identical('a copy');
finds('a copy');
is_clean('a copy');
done_testing();
