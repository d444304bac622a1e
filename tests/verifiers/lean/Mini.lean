prelude
set_option autoImplicit false
set_option genSizeOf false
set_option genInjectivity false
set_option genCtorIdx false
set_option bootstrap.inductiveCheckResultingUniverse false
universe u v

-- what the elaborator and the compiler ask for by name
inductive PUnit : Sort u where
  | unit : PUnit
unsafe axiom lcErased : Type
unsafe axiom lcAny : Type
unsafe axiom lcVoid : Type
unsafe axiom lcProof {p : Prop} : p
unsafe axiom lcUnreachable {t : Sort u} : t

inductive True : Prop where
  | intro : True
inductive False : Prop
inductive Bool : Type where
  | false : Bool
  | true : Bool
axiom sorryAx (t : Sort u) (synthetic : Bool) : t

inductive Eq {t : Sort u} : t → t → Prop where
  | refl (a : t) : Eq a a
theorem congrArg {s : Sort u} {t : Sort v} {a b : s} (f : s → t) (h : Eq a b) : Eq (f a) (f b) :=
  Eq.rec (motive := fun x _ => Eq (f a) (f x)) (Eq.refl (f a)) h

inductive Nat where
  | zero : Nat
  | succ (n : Nat) : Nat
noncomputable def Nat.add (a b : Nat) : Nat := Nat.rec (motive := fun _ => Nat) a (fun _ r => Nat.succ r) b
noncomputable def Nat.double (a : Nat) : Nat := Nat.add a a
