/*
 * session.h
 *		Settings on which the text of values, and what our own sessions do, depend: one list of
 *		them, and who pins them when.
 *
 * A user, a role or a database may set them to anything. So they are pinned
 *	- around every conversion of a value that travels or is stored (session_pin_text,
 *	session_pin_binary),
 *	- around code of users whose result must be the same on all nodes (session_pin_code),
 *	- for good in our workers (session_pin_worker) and in sessions on other nodes
 *	(session_peer_options).
 * The first three are GUC nest levels: session_unpin() or an error takes them back.
 */
#ifndef REPLICATION_PLUGIN_SESSION_H
#define REPLICATION_PLUGIN_SESSION_H

/* The search_path of all SQL of our own. */
#define SESSION_OWN_PATH	"pg_catalog, pg_temp"

/* True for types whose values are OIDs of objects, which their text form names. */
extern bool session_type_names_objects(Oid typid);

/*
 * The function that writes values of a type as text that reads back as the same value, byte by
 * byte.
 */
extern Oid	session_output_function(Oid typid);

/*
 * Has text forms of values be the same everywhere. path: also names of objects in them. Returns a
 * nest level; 0 if nothing had to be set.
 */
extern int	session_pin_text(bool path);

/* Has binary forms of values be the same everywhere: they hold texts in the client's encoding. */
extern int	session_pin_binary(void);

/* Has code of users do the same on all nodes; names mean what they mean under search_path. */
extern int	session_pin_code(const char *search_path);

/* Has names mean what they mean under search_path. */
extern int	session_pin_path(const char *search_path);

extern void session_unpin(int nest);

/* The same in the nest level that the caller has begun. */
extern void session_set_path(const char *search_path);

/*
 * A bit of the security context (PostgreSQL takes it back with an error): values of a table are
 * read, compared, hashed and printed, and what comes with it is run, in a bracket that says as whom
 * (catalog/as_owner.h).
 */
#define SESSION_ROW		0x4000

/* True within such a bracket. */
extern bool session_in_row(void);

/* True if the text form of all types is as wanted. */
extern bool session_text_is_pinned(void);

/* The value to which a setting is pinned on which the text of values depends. */
extern const char *session_text_pin(const char *name);

/*
 * Has texts be the same everywhere again, in the nest level of the caller, after code of users has
 * changed that.
 */
extern void session_restore_text(void);

/*
 * SPI_connect() and SPI_finish() for SQL of our own: names mean what they mean to us, in whoever's
 * session, whatever it has set.
 */
extern int	session_sql_begin(void);
extern void session_sql_end(int nest);

/*
 * Between the two: prepares a statement for this process, unless *plan (an SPIPlanPtr) is set
 * already.
 */
struct _SPI_plan;
extern void session_keep_plan(struct _SPI_plan **plan, const char *sql, int nparams, Oid *types);

/*
 * Keeps the statements of this session, and what they are about, out of the log, pg_stat_activity
 * and the statistics of statements: for secrets that must go through SQL. local: until the
 * transaction ends.
 */
extern void session_hide(bool local);

/* Pins everything in a background worker of ours, for good. */
extern void session_pin_worker(void);

/*
 * Options for the startup message of a session on another node. user_options (NULL: none), those of
 * the dsn, may override how patient the session is, nothing else.
 */
extern char *session_peer_options(const char *user_options);

#endif							/* REPLICATION_PLUGIN_SESSION_H */
