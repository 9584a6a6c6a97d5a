/*
 * dsn.h
 *		Parses and resolves a dsn: options of libpq, or the name of a foreign server that has
 *		them.
 */
#ifndef REPLICATION_PLUGIN_DSN_H
#define REPLICATION_PLUGIN_DSN_H

#include "libpq-fe.h"

/*
 * Parses a dsn of libpq options. Raises an error, without showing what may be a password, if it is
 * invalid. The caller must call PQconninfoFree().
 */
extern PQconninfoOption *dsn_parse(const char *dsn);

/* Returns the value of a keyword; NULL if it is not given. */
extern const char *dsn_value(const PQconninfoOption *options, const char *keyword);

/*
 * Returns a dsn of libpq options, palloc'd. For "foreign_server=NAME" these are the present options
 * of the server and its user mapping, secrets included. If there is no such server or mapping, or
 * the server does not belong to a superuser, raises an error, or with missing_ok returns the dsn
 * unchanged. Outside of a transaction, the look-up uses one of its own.
 */
extern char *dsn_resolve(const char *dsn, bool missing_ok);

/*
 * Returns a dsn without password and sslpassword, palloc'd. The name of a foreign server is kept.
 * Raises an error if the dsn is invalid.
 */
extern char *dsn_without_secrets(const char *dsn);

/*
 * Returns a resolved dsn for a program, without secrets, palloc'd. The program's session gets the
 * settings of peer_connect(). superuser: the program connects as a superuser.
 */
extern char *dsn_for_program(const char *dsn, bool superuser);

#endif							/* REPLICATION_PLUGIN_DSN_H */
