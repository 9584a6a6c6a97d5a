/*
 * identity.h
 *		Checks whether a dsn leads to this very database.
 */
#ifndef REPLICATION_PLUGIN_IDENTITY_H
#define REPLICATION_PLUGIN_IDENTITY_H

typedef enum IdentityCheck
{
	IDENTITY_SAME,
	IDENTITY_OTHER_SERVER,		/* another server, or a copy of this one */
	IDENTITY_OTHER_DATABASE,	/* of this server */
	IDENTITY_NO_EXTENSION		/* a database without this extension, on any server */
} IdentityCheck;

/* Connects and compares. Raises an error if it cannot connect. */
extern IdentityCheck identity_check(const char *dsn);

#endif							/* REPLICATION_PLUGIN_IDENTITY_H */
