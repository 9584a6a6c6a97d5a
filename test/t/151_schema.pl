# A schema of the extension's name that somebody else has made is not taken.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(1);
$mesh->sql(1, 'CREATE ROLE mallory LOGIN; CREATE ROLE other SUPERUSER');
my $n = 0;

# Creates the extension in a new database where somebody has been before; its name, status and message.
sub create_after
{
	my ($before) = @_;
	my $db = 'db' . ++$n;
	$mesh->sql(1, "CREATE DATABASE $db");
	$mesh->try_sql(1, "GRANT CREATE ON DATABASE $db TO mallory; $before", $db);
	my ($status, $out, $err) = $mesh->try_sql(1, 'CREATE EXTENSION replication_plugin', $db);
	return ($db, $status, $err);
}

my %hostile = (
	'a function that our commands call' => ['SET ROLE mallory; CREATE SCHEMA replication_plugin;
		CREATE FUNCTION replication_plugin.require_arguments(text, VARIADIC text[]) RETURNS void LANGUAGE sql AS $$ ALTER ROLE mallory SUPERUSER $$', qr/is not empty/],
	'an operator' => ['SET ROLE mallory; CREATE SCHEMA replication_plugin;
		CREATE FUNCTION replication_plugin.f(name, text) RETURNS boolean LANGUAGE sql AS $$ ALTER ROLE mallory SUPERUSER; SELECT true $$;
		CREATE OPERATOR replication_plugin.= (leftarg = name, rightarg = text, function = replication_plugin.f)', qr/is not empty/],
	'nothing yet' => ['SET ROLE mallory; CREATE SCHEMA replication_plugin', qr/of role "mallory" exists already, and its owner is no superuser/],
	'default privileges' => ['CREATE SCHEMA replication_plugin; ALTER DEFAULT PRIVILEGES IN SCHEMA replication_plugin GRANT ALL ON TABLES TO mallory', qr/is not empty/],
	'a right to create' => ['CREATE SCHEMA replication_plugin; GRANT CREATE ON SCHEMA replication_plugin TO mallory', qr/others may create objects in it/],
);
for my $what (sort keys %hostile)
{
	my ($sql, $message) = @{ $hostile{$what} };
	my ($db, $status, $err) = create_after($sql);
	isnt($status, 0, "$what: refused");
	like($err, $message, "$what: and why");
	like($err, qr/HINT:.*DROP SCHEMA replication_plugin/, "$what: with the way out");
	is($mesh->sql(1, 'SELECT count(*) FROM pg_extension WHERE extname = $$replication_plugin$$', $db), 0, "$what: nothing was created") if $status;
	my ($again) = $mesh->try_sql(1, 'DROP SCHEMA replication_plugin CASCADE; CREATE EXTENSION replication_plugin', $db);
	is($again, 0, "$what: and the way out works");
}
is($mesh->sql(1, 'SELECT rolsuper FROM pg_roles WHERE rolname = $$mallory$$'), 'f', 'nobody has become superuser');
for my $before ('SELECT 1', 'CREATE SCHEMA replication_plugin', 'CREATE SCHEMA replication_plugin AUTHORIZATION other; GRANT USAGE ON SCHEMA replication_plugin TO PUBLIC')
{
	my ($db, $status, $err) = create_after($before);
	is($status, 0, "taken: $before") or diag($err);
}
my ($db, $status) = create_after('SELECT 1');
($status) = $mesh->try_sql(1, 'BEGIN; SAVEPOINT s; DROP EXTENSION replication_plugin; DROP SCHEMA IF EXISTS replication_plugin; CREATE EXTENSION replication_plugin; RELEASE s; COMMIT', $db);
is($status, 0, 'dropped and created in one transaction');
done_testing();
