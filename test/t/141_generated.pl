# Generated columns are not sent, and not kept with siblings and parked rows: whoever shows, checks or hands on such a row computes them first.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE doc (id int PRIMARY KEY, body text NOT NULL, seen_sizes int[], size int GENERATED ALWAYS AS (length(body)) STORED NOT NULL);
CREATE TABLE stock (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED NOT NULL, CHECK (twice < 100));
CREATE TABLE account (id int PRIMARY KEY, name text, lower_name text GENERATED ALWAYS AS (lower(name)) STORED UNIQUE);
CREATE FUNCTION merged(older doc, newer doc) RETURNS doc LANGUAGE sql
	AS $$ SELECT older.id, older.body || '+' || newer.body, ARRAY[older.size, newer.size], NULL::int $$;
INSERT INTO doc VALUES (1, 'first');
INSERT INTO stock VALUES (1, 10), (2, 40);
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('doc', 'handler', 'merged(doc,doc)'), replication_plugin.set_column_merge('stock', 'n', 'counter')");
$mesh->wait_converged;

$mesh->pause_all;
for my $i (1, 2)
{
	my $body = $i == 1 ? 'abc' : 'defgh';
	$mesh->sql($i, "UPDATE doc SET body = '$body' WHERE id = 1; UPDATE stock SET n = n + 7 WHERE id IN (1, 2); INSERT INTO account VALUES ($i, 'ANN')");
}
$mesh->resume_all;
for my $i (1, 2)
{
	is($mesh->sql($i, 'SELECT body, seen_sizes, size FROM doc'), 'abc+defgh|{3,5}|9', "node $i: a handler gets them, and its result has them");
	is($mesh->sql($i, q(SELECT string_agg("row" ->> 'size', ' ') FROM replication_plugin.siblings('doc', '{"id": 1}'))), '5 3', "node $i: siblings have them");
	is($mesh->sql($i, 'SELECT * FROM stock ORDER BY id'), "1|24|48\n2|47|94", "node $i: merged values are checked with them");
	is($mesh->sql($i, 'SELECT * FROM account'), '2|ANN|ann', "node $i: the newest is shown");
	is($mesh->sql($i, 'SELECT * FROM replication_plugin.parked_of(NULL::account)'), '1|ANN|ann', "node $i: a parked row has them");
	is($mesh->sql($i, q(SELECT "row" ->> 'lower_name' FROM replication_plugin.parked_rows)), 'ann', "node $i: also in the view");
}
$mesh->is_identical('at the end');
done_testing();
