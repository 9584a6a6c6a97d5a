/*
 * session.h
 *		The settings on which the text form of values, and the extension's own sessions, depend:
 *		one list of them, and the functions that pin them.
 *
 * A user, a role or a database may set them to anything. Therefore they are pinned
 *
 * - around every conversion of a value that is sent or stored (session_pin_text(),
 *   session_pin_binary()),
 * - around code of users whose result must be the same on all nodes (session_pin_code()),
 * - permanently in workers (session_pin_worker()) and in sessions on other nodes
 *   (session_peer_options(), session_peer_sql()).
 *
 * The first three functions begin GUC nest levels: session_unpin() or an error ends them.
 */
#ifndef REPLICATION_PLUGIN_SESSION_H
#define REPLICATION_PLUGIN_SESSION_H

/* The search_path of all SQL of the extension itself. */
#define SESSION_OWN_PATH	"pg_catalog, pg_temp"

/* Returns true for types whose values are OIDs of objects, which their text form names. */
extern bool session_type_names_objects(Oid typid);

/*
 * Returns the function that converts values of a type to a text that reads back as the same value,
 * byte by byte.
 */
extern Oid	session_output_function(Oid typid);

/*
 * Pins the text form of values. path: also the names of objects in it. Returns a nest level; 0 if
 * nothing had to be set.
 */
extern int	session_pin_text(bool path);

/*
 * Pins the binary form of values, which contains texts in the client's encoding. Returns a nest
 * level; 0 if nothing had to be set.
 */
extern int	session_pin_binary(void);

/* Pins the settings on which code of users depends, and search_path. Returns a nest level. */
extern int	session_pin_code(const char *search_path);

/* Pins search_path. Returns a nest level; 0 if nothing had to be set. */
extern int	session_pin_path(const char *search_path);

extern void session_unpin(int nest);

/* Pins search_path in the nest level that the caller has begun. */
extern void session_set_path(const char *search_path);

/*
 * A bit of the security context, which PostgreSQL resets after an error. It marks a row session:
 * values of a table are read, compared, hashed and printed, and its code runs, as a role that the
 * row session determines (catalog/as_owner.h).
 */
#define SESSION_ROW		0x4000

/* Returns true within a row session. */
extern bool session_in_row(void);

/* Returns true if the text form of all types is as pinned. */
extern bool session_text_is_pinned(void);

/*
 * Returns the pinned value of a setting on which the text form of values depends. Raises an error
 * for any other setting.
 */
extern const char *session_text_pin(const char *name);

/*
 * Pins the text form of values again, in the nest level of the caller, after code of users has
 * changed it.
 */
extern void session_restore_text(void);

/*
 * SPI_connect() and SPI_finish() for SQL of the extension itself: names are looked up in
 * SESSION_OWN_PATH, whatever the session has set.
 */
extern int	session_sql_begin(void);
extern void session_sql_end(int nest);

/*
 * Prepares a statement for the life of this process, unless *plan (an SPIPlanPtr) is set already.
 * Called between the two.
 */
struct _SPI_plan;
extern void session_keep_plan(struct _SPI_plan **plan, const char *sql, int nparams, Oid *types);

/*
 * Keeps the statements of this session, and their parameters, out of the log, pg_stat_activity and
 * the statistics of statements. Used for secrets that must go through SQL. local: until the
 * transaction ends.
 */
extern void session_hide(bool local);

/* Pins all settings in a background worker of the extension, permanently. */
extern void session_pin_worker(void);

/*
 * Returns options, palloc'd, for the startup message of a session on another node. user_options,
 * the options in the dsn (NULL: none), may override the patience of the session and nothing else.
 */
extern char *session_peer_options(const char *user_options);

/*
 * Returns the statement that pins the settings which only newer servers have, to be run at the begin
 * of a session on a server of that version; NULL if there are none.
 */
extern const char *session_peer_sql(int server_version_num);

#endif							/* REPLICATION_PLUGIN_SESSION_H */
