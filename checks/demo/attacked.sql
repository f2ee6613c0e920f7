-- Six open quests, 31 to 36, each with a pending application of student1; after audit_001.sql.
insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, category_id, creator_id
)
select
  quest.id,
  'Quest ' || quest.id,
  '',
  'easy',
  'open',
  10,
  0,
  0,
  now(),
  now(),
  '',
  '',
  'quest-' || quest.id,
  false,
  1,
  '11111111-1111-4111-8111-111111111111'
from generate_series(31, 36) as quest (id);

insert into applications_application (status, applied_at, quest_id, applicant_id)
select
  'pending',
  now(),
  quest.id,
  '20000000-0000-4000-8000-000000000001'
from generate_series(31, 36) as quest (id);
