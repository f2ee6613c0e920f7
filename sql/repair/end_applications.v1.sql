create or replace function integrity.end_applications(
  quests bigint[],
  applications bigint[],
  ended_as text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  -- The triggers would log each application by itself.
  is_paused constant boolean := integrity.pause_mechanism(true);
  ended jsonb;
begin
  with updated as (
    update public.applications_application as application
    set status = ended_as
    from unnest(quests, applications) as listed (quest_id, id)
    where
      application.quest_id = listed.quest_id
      and application.id = listed.id
    returning
      application.quest_id,
      application.applicant_id,
      application.id
  )

  select
    jsonb_agg(
      jsonb_build_object(
        'quest_id', updated.quest_id,
        'user_id', updated.applicant_id,
        'application_id', updated.id,
        'before', jsonb_build_object('application_status', 'approved'),
        'after', jsonb_build_object('application_status', ended_as)
      )
      order by updated.id
    )
  into ended
  from updated;

  if is_paused then
    perform integrity.pause_mechanism(false);
    perform integrity.log_events('application_ended', ended);
  end if;
end
$$;

comment on function integrity.end_applications(bigint[], bigint[], text) is
'Sets approved applications, each given with its quest, to another status, and logs it, for repairs. The caller has set right their participants, which it leaves alone.';

revoke all on function integrity.end_applications(bigint[], bigint[], text) from public;
