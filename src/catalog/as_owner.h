/*
 * as_owner.h
 *		Running what comes with a table (expressions, casts, triggers) with its owner's rights only.
 */
#ifndef REPLICATION_PLUGIN_AS_OWNER_H
#define REPLICATION_PLUGIN_AS_OWNER_H

#include "miscadmin.h"

/* What has to be undone after running as an owner. */
typedef struct OwnerContext
{
	Oid			user;
	int			security;
} OwnerContext;

/* Becomes the owner, in a restricted context. An error puts things back with the transaction, or subtransaction. */
static inline OwnerContext
as_owner_begin(Oid owner)
{
	OwnerContext saved;

	GetUserIdAndSecContext(&saved.user, &saved.security);
	if (owner != saved.user)
		SetUserIdAndSecContext(owner, saved.security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	return saved;
}

/* Becomes what it was before. */
static inline void
as_owner_end(OwnerContext saved)
{
	SetUserIdAndSecContext(saved.user, saved.security);
}

#endif							/* REPLICATION_PLUGIN_AS_OWNER_H */
