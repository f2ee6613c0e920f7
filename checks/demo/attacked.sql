-- Six open quests, 31 to 36, each with a pending application of student1; after audit_001.sql.
insert into quests_quest (
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
)
values
(
  31, 'Quest 31', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-31', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  32, 'Quest 32', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-32', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  33, 'Quest 33', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-33', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  34, 'Quest 34', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-34', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  35, 'Quest 35', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-35', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
),
(
  36, 'Quest 36', '', 'easy', 'open', 10, 0, 0, now(), now(), '', '', 'quest-36', false,
  null, 1, '11111111-1111-4111-8111-111111111111'
);

insert into applications_application (status, applied_at, quest_id, applicant_id)
values
('pending', now(), 31, '20000000-0000-4000-8000-000000000001'),
('pending', now(), 32, '20000000-0000-4000-8000-000000000001'),
('pending', now(), 33, '20000000-0000-4000-8000-000000000001'),
('pending', now(), 34, '20000000-0000-4000-8000-000000000001'),
('pending', now(), 35, '20000000-0000-4000-8000-000000000001'),
('pending', now(), 36, '20000000-0000-4000-8000-000000000001');
