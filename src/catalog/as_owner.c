/*
 * as_owner.c
 *		Runs the code that belongs to a table with the rights and settings of the table's owner
 *		only.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "base/code_hook.h"
#include "base/session.h"
#include "catalog/as_owner.h"
#include "catalog/owner_path.h"

OwnerContext
as_owner_begin(Oid owner)
{
	OwnerContext saved = {.nest = NewGUCNestLevel()};

	code_hook_note_use();
	GetUserIdAndSecContext(&saved.user, &saved.security);
	if (owner == saved.user)
		SetUserIdAndSecContext(owner, saved.security | SESSION_ROW);
	else
		SetUserIdAndSecContext(owner, saved.security | SESSION_ROW | SECURITY_LOCAL_USERID_CHANGE |
										  SECURITY_RESTRICTED_OPERATION);
	return saved;
}

OwnerContext
as_owner_begin_code(Oid owner)
{
	const char *path = owner_path(owner);
	OwnerContext saved = as_owner_begin(owner);

	session_set_path(path);
	return saved;
}

/*
 * Triggers and constraints of a leaf are also those of its root. They must not get rights that the
 * root's owner does not have.
 */
Oid
as_owner_of_leaf(Oid root_owner, Oid leaf_owner)
{
	return leaf_owner != root_owner && superuser_arg(leaf_owner) ? root_owner : leaf_owner;
}

void
as_owner_end(OwnerContext saved)
{
	AtEOXact_GUC(false, saved.nest);
	SetUserIdAndSecContext(saved.user, saved.security);
}
