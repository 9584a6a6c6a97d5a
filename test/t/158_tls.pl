# Links with TLS and certificates on both sides, by the commands of docs/tls.md as they stand there; and what is said of certificates that do not do.
use strict;
use warnings;
use File::Basename;
use File::Copy;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'SKIPPED, LOUDLY: the program openssl is missing, so nothing of TLS has been tested' if system('openssl version >/dev/null 2>&1') != 0;
my $config = `pg_config --configure`;
plan skip_all => 'SKIPPED, LOUDLY: this PostgreSQL was built without TLS, so nothing of it has been tested' unless $config =~ /--with-(?:openssl|ssl)/;

# the indented lines of each section
my (%lines, $section);
for my $line (split /\n/, slurp_file(dirname(__FILE__) . '/../../docs/tls.md'))
{
	$section = $1 if $line =~ /^#+ (.*)/;
	push @{ $lines{$section} }, $1 if $line =~ /^    (.*)/;
}

my @names = qw(tokyo paris lima);
my $mesh = Mesh->new(3, conf => "listen_addresses = '127.0.0.1'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
my $etc = "$dir/etc";
mkdir $etc;

# Runs the commands of a section in a directory.
sub run_shell
{
	my ($where, $title, %replace) = @_;
	my @commands = @{ $lines{$title} || [] };
	cmp_ok(scalar @commands, '>', 0, "$title: there are commands");
	for my $c (@commands)
	{
		my $command = $c;
		$command =~ s/\Q$_\E/$replace{$_}/g for keys %replace;
		is(system("cd $where && ($command) >/dev/null 2>>$dir/openssl.log"), 0, "$title: $command") or diag(slurp_file("$dir/openssl.log"));
	}
}

sub authority { my ($d, $name) = @_; mkdir $d; run_shell($d, 'The certificate authority', 'replication CA' => $name || 'replication CA'); }
sub server_certificate { my ($ca, $name, %more) = @_; run_shell($ca, 'The certificate of a server', 'tokyo.example.com' => "$name.example.com", %more); }
sub role_certificate { my ($ca, %more) = @_; run_shell($ca, 'The certificate of the role', %more); }
sub install
{
	my ($from, $to, @files) = @_;
	for my $f (@files)
	{
		unlink "$to/$f";
		copy("$from/$f", "$to/$f") or die "$f: $!";
		chmod 0600, "$to/$f";
	}
}
my $ca = "$dir/ca";
authority($ca);
role_certificate($ca);
install($ca, $etc, qw(ca.crt repl.crt repl.key));
for my $i (1 .. 3)
{
	my $node = $mesh->node($i);
	$mesh->sql($i, 'CREATE ROLE repl LOGIN SUPERUSER');
	server_certificate($ca, $names[ $i - 1 ]);
	install($ca, $node->data_dir, qw(ca.crt server.crt server.key));
	my @each = @{ $lines{'Each server'} };
	$node->append_conf('postgresql.conf', join("\n", grep { /^ssl/ } @each) . "\n");
	my $hba = slurp_file($node->data_dir . '/pg_hba.conf');
	open my $fh, '>', $node->data_dir . '/pg_hba.conf' or die;
	print $fh join("\n", grep { /^host/ } @each), "\nlocal all repl reject\n", $hba;
	close $fh;
	$node->restart;
	$mesh->sql($i, $_) for grep { /^SELECT/ } @each;
}

# the names of the page lead to this machine
sub here
{
	my ($sql) = @_;
	$sql =~ s{/etc/replication}{$etc}g;
	for my $i (1 .. 3)
	{
		my $host = "$names[$i - 1].example.com";
		my $port = $mesh->node($i)->port;
		$sql =~ s/host=\Q$host\E/host=$host hostaddr=127.0.0.1 port=$port/g;
	}
	return $sql;
}
my ($create) = grep { /create_group/ } @{ $lines{'The group'} };
my ($join) = grep { /join_group/ } @{ $lines{'The group'} };
my ($look) = grep { /pg_stat_ssl/ } @{ $lines{'The group'} };
$mesh->sql(1, here($create));
$mesh->sql(1, 'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 100) g');
for my $i (2, 3)
{
	$mesh->sql($i, here($join =~ s/paris/$names[$i - 1]/gr));
	is($mesh->sql($i, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', "$names[$i - 1] joins") or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.nodes'));
}
$mesh->wait_for_streaming;
my $n = 1000;
sub works
{
	my ($what) = @_;
	$n++;
	$mesh->sql($_, "INSERT INTO t VALUES ($n * 10 + $_, '$what')") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->is_identical($what);
}
works('with certificates');
for my $i (1 .. 3)
{
	my @rows = split /\n/, $mesh->sql($i, $look);
	cmp_ok(scalar @rows, '>=', 2, "$names[$i - 1]: sessions of others");
	is(scalar(grep { !/\|t\|TLSv1\.[23]\|\/CN=repl/ } @rows), 0, "$names[$i - 1]: all encrypted, with the role's certificate") or diag(join "\n", @rows);
}

# ---------- what does not do ----------

# Has the links from tokyo begin anew; polls for what they say.
sub is_refused
{
	my ($what, $like) = @_;
	$mesh->sql(1, 'SELECT pg_reload_conf()');
	my $since = $mesh->sql(2, 'SELECT clock_timestamp()');
	# until the server has read its files anew, a connection gets through
	ok($mesh->poll(2, "SELECT coalesce(last_error ~ '$like', false) AND last_error_at > '$since' AND state <> 'streaming' FROM replication_plugin.links WHERE provider = 'tokyo'"), "$what: the link says so")
		or diag($mesh->sql(2, "SELECT state, last_error, last_error_at FROM replication_plugin.links WHERE provider = 'tokyo'"));
	is($mesh->sql(2, "SELECT count(*) FROM replication_plugin.links WHERE provider = 'tokyo' AND last_error ~ 'password='"), 0, "$what: without a secret");
}
sub end_links
{
	my ($condition) = @_;
	$mesh->poll(1, 'SELECT count(pg_terminate_backend(pid)) >= 0 FROM pg_stat_replication');
}
sub spoil
{
	my ($what, $like, $spoil, $mend) = @_;
	subtest $what => sub {
		$spoil->();
		$mesh->sql(1, 'SELECT pg_reload_conf(), pg_sleep(0.2)');
		end_links();
		is_refused($what, $like);
		$mend->();
		$mesh->sql(1, 'SELECT pg_reload_conf()');
		$mesh->wait_for_streaming;
		works("$what, mended");
	};
}

my $other = "$dir/other";
authority($other, 'other CA');
my $tokyo = $mesh->node(1)->data_dir;
sub server_case
{
	my ($what, $like, $from, $name, %more) = @_;
	server_certificate($ca, 'tokyo');
	copy("$ca/$_", "$dir/$_") for 'server.crt', 'server.key';
	server_certificate($from, $name, %more);
	spoil($what, $like, sub { install($from, $tokyo, qw(server.crt server.key)) }, sub { install($dir, $tokyo, qw(server.crt server.key)) });
}
sub role_case
{
	my ($what, $like, $from, %more) = @_;
	role_certificate($ca);
	copy("$ca/$_", "$dir/$_") for 'repl.crt', 'repl.key';
	role_certificate($from, %more);
	spoil($what, $like, sub { install($from, $etc, qw(repl.crt repl.key)) }, sub { install($dir, $etc, qw(repl.crt repl.key)) });
}
server_case('the certificate of a server has expired', 'certificate verify failed', $ca, 'tokyo', '-days 365' => '-days -1');
server_case('the certificate of a server is for another host', 'server certificate for "paris.*does not match host name "tokyo', $ca, 'paris');
server_case('the certificate of a server is of another authority', 'certificate verify failed', $other, 'tokyo');
role_case('the certificate of the role has expired', 'certificate expired', $ca, '-days 365' => '-days -1');
role_case('the certificate of the role is of another authority', 'unknown ca', $other);
role_case('the certificate is of another role', 'certificate authentication failed for user', $ca, 'CN=repl' => 'CN=somebody');
spoil('there is no certificate of the role', 'client certificate', sub { rename "$etc/repl.crt", "$etc/away.crt" or die }, sub { rename "$etc/away.crt", "$etc/repl.crt" or die });

# a dsn that would not be encrypted, or not be checked, gets nowhere; nor does a new node with it
my $plain = here("host=lima.example.com dbname=app user=repl sslmode=disable");
my ($status, undef, $err) = $mesh->try_sql(1, "SELECT replication_plugin.set_node_dsn('lima', '$plain')");
isnt($status, 0, 'a dsn without encryption is refused');
like($err, qr/pg_hba.conf rejects connection|no encryption/, 'with the reason');
($status, undef, $err) = $mesh->try_sql(1, sprintf("SELECT replication_plugin.set_node_dsn('lima', '%s')", here("host=lima.example.com dbname=app user=repl sslmode=verify-full sslrootcert=$other/ca.crt sslcert=$etc/repl.crt sslkey=$etc/repl.key")));
like($err, qr/certificate verify failed/, 'nor does one with a wrong authority');
works('at the end');
done_testing();
