/*
 * dsn.h
 *		What a dsn says: libpq's options, or the name of a foreign server that has them.
 */
#ifndef REPLICATION_PLUGIN_DSN_H
#define REPLICATION_PLUGIN_DSN_H

#include "libpq-fe.h"

/*
 * Parses a dsn of libpq's options; raises an error that does not show what may be a password.
 * PQconninfoFree is the caller's.
 */
extern PQconninfoOption *dsn_parse(const char *dsn);

/* The value of a key word, NULL if not given. */
extern const char *dsn_value(const PQconninfoOption *options, const char *keyword);

/*
 * A dsn of libpq's options, palloc'd. Of "foreign_server=NAME" those of the server and its user
 * mapping, as they are now: secrets included. Where there are none, or the server is not a
 * superuser's: an error, or if missing_ok is true the dsn as it is. Outside of a transaction it
 * makes one.
 */
extern char *dsn_resolve(const char *dsn, bool missing_ok);

/*
 * A dsn without password and sslpassword, palloc'd; a foreign server's name stays one. Raises an
 * error if it does not parse.
 */
extern char *dsn_without_secrets(const char *dsn);

/*
 * A resolved dsn for a program, without secrets; it shall run in a session with the settings of
 * peer_connect(). superuser: whether that session is one's.
 */
extern char *dsn_for_program(const char *dsn, bool superuser);

#endif							/* REPLICATION_PLUGIN_DSN_H */
