create or replace view integrity.participant_reference as
select
  format('%I.%I', schema.nspname, referrer.relname) as relation,
  attribute.attname as attribute,
  (
    select own.attname
    from pg_catalog.pg_attribute as theirs
    inner join pg_catalog.pg_attribute as own
      on
        reference.conrelid = own.attrelid
        and reference.conkey[array_position(reference.confkey, theirs.attnum)] = own.attnum
    where
      theirs.attrelid = reference.confrelid
      and theirs.attname = 'quest_id'
  ) as quest_attribute,
  coalesce(
    (
      select
        'jsonb_build_object('
        || string_agg(format('%L, referrer.%I', member.attname, member.attname), ', ' order by member.attnum)
        || ')'
      from pg_catalog.pg_constraint as primary_key
      inner join pg_catalog.pg_attribute as member
        on
          primary_key.conrelid = member.attrelid
          and member.attnum = any(primary_key.conkey)
      where
        primary_key.conrelid = referrer.oid
        and primary_key.contype = 'p'
    ),
    'to_jsonb(referrer)'
  ) as row_key
from pg_catalog.pg_constraint as reference
inner join pg_catalog.pg_class as referrer
  on reference.conrelid = referrer.oid
inner join pg_catalog.pg_namespace as schema
  on referrer.relnamespace = schema.oid
inner join pg_catalog.pg_attribute as target
  on
    reference.confrelid = target.attrelid
    and target.attnum = any(reference.confkey)
inner join pg_catalog.pg_attribute as attribute
  on
    reference.conrelid = attribute.attrelid
    and reference.conkey[array_position(reference.confkey, target.attnum)] = attribute.attnum
cross join integrity.installation as installation
where
  reference.contype = 'f'
  and reference.conparentid = 0
  and target.attname = 'id'
  and reference.confrelid = to_regclass(format('%I.quests_questparticipant', installation.app_schema));

comment on view integrity.participant_reference is
'Every column, in any table, with a foreign key to a participant''s id, alone or as part of a composite key. quest_attribute: the column of that key that refers to the participant''s quest_id, if one does. row_key: the SQL expression of the row''s primary key, or of the whole row where there is none.';

revoke all on integrity.participant_reference from public;
